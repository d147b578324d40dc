import java.io.Serializable;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.TimeoutException;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.FlatMapGroupsWithStateFunction;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.api.java.function.VoidFunction2;
import org.apache.spark.mllib.clustering.StreamingKMeansModel;
import org.apache.spark.mllib.linalg.Vector;
import org.apache.spark.mllib.linalg.Vectors;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.streaming.GroupState;
import org.apache.spark.sql.streaming.GroupStateTimeout;
import org.apache.spark.sql.streaming.OutputMode;
import org.apache.spark.sql.streaming.StreamingQueryException;

/**
 * Spark Structured Streaming: rolling features in its state, MLlib's streaming k-means over each
 * batch. The model is the driver's: it learns again from a batch that is run again.
 */
public final class Peer {
    static final int TILES = 30;
    static final long TILE_SECONDS = 3 * 86_400;

    public static class Purchase implements Serializable {
        private String customer;
        private long tile;
        private long cents;

        public String getCustomer() { return customer; }
        public void setCustomer(String customer) { this.customer = customer; }
        public long getTile() { return tile; }
        public void setTile(long tile) { this.tile = tile; }
        public long getCents() { return cents; }
        public void setCents(long cents) { this.cents = cents; }
    }

    /** A ring of (count, cents) by tile. */
    public static class Window implements Serializable {
        private long head = Long.MIN_VALUE;
        private long[] counts = new long[TILES];
        private long[] cents = new long[TILES];

        public long getHead() { return head; }
        public void setHead(long head) { this.head = head; }
        public long[] getCounts() { return counts; }
        public void setCounts(long[] counts) { this.counts = counts; }
        public long[] getCents() { return cents; }
        public void setCents(long[] cents) { this.cents = cents; }

        void add(Purchase purchase) {
            long tile = purchase.getTile();
            if (head == Long.MIN_VALUE) {
                head = tile;
            }
            for (long t = Math.max(head + 1, tile - TILES + 1); t <= tile; t++) {
                counts[at(t)] = cents[at(t)] = 0;
            }
            head = Math.max(head, tile);
            if (tile > head - TILES) {
                counts[at(tile)]++;
                cents[at(tile)] += purchase.getCents();
            }
        }

        private static int at(long tile) {
            return (int) Math.floorMod(tile, TILES);
        }
    }

    public static class Features implements Serializable {
        private String customer;
        private long purchases;
        private long spend;

        public String getCustomer() { return customer; }
        public void setCustomer(String customer) { this.customer = customer; }
        public long getPurchases() { return purchases; }
        public void setPurchases(long purchases) { this.purchases = purchases; }
        public long getSpend() { return spend; }
        public void setSpend(long spend) { this.spend = spend; }
    }

    static Iterator<Features> fold(String customer, Iterator<Purchase> purchases, GroupState<Window> state) {
        Window window = state.exists() ? state.get() : new Window();
        purchases.forEachRemaining(window::add);
        state.update(window);
        Features features = new Features();
        features.setCustomer(customer);
        features.setPurchases(Arrays.stream(window.getCounts()).sum());
        features.setSpend(Arrays.stream(window.getCents()).sum());
        return List.of(features).iterator();
    }

    static double[] numbers(String variable) {
        return Arrays.stream(System.getenv(variable).split(",")).mapToDouble(Double::parseDouble).toArray();
    }

    public static void main(String[] arguments) throws TimeoutException, StreamingQueryException {
        String servers = System.getenv("PEER_BOOTSTRAP"), output = System.getenv("PEER_OUTPUT");
        String checkpoint = System.getenv("PEER_STATE") + "/checkpoint";
        double[] scales = numbers("PEER_SCALES"), flat = numbers("PEER_CENTROIDS");
        int clusters = flat.length / 2;
        Vector[] centers = new Vector[clusters];
        double[] weights = new double[clusters];
        for (int k = 0; k < clusters; k++) {
            centers[k] = Vectors.dense(flat[2 * k], flat[2 * k + 1]);
            weights[k] = 1;
        }
        SparkSession spark = SparkSession.builder()
            .appName("peer")
            .master("local[*]")
            .config("spark.ui.enabled", false)
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", 4)
            .config("spark.sql.streaming.stateStore.providerClass",
                "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider")
            .getOrCreate();
        Dataset<Purchase> purchases = spark.readStream()
            .format("kafka")
            .option("kafka.bootstrap.servers", servers)
            .option("subscribe", System.getenv("PEER_INPUT"))
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", 20_000)
            .load()
            .select(functions.from_json(
                functions.col("value").cast("string"),
                functions.lit("customer_id STRING, occurred_at TIMESTAMP, amount DOUBLE")).as("p"))
            .selectExpr(
                "p.customer_id AS customer",
                "CAST(floor(unix_seconds(p.occurred_at) / " + TILE_SECONDS + ") AS BIGINT) AS tile",
                "CAST(round(p.amount * 100) AS BIGINT) AS cents")
            .as(Encoders.bean(Purchase.class));
        Dataset<Features> features = purchases
            .groupByKey((MapFunction<Purchase, String>) Purchase::getCustomer, Encoders.STRING())
            .flatMapGroupsWithState(
                (FlatMapGroupsWithStateFunction<String, Purchase, Window, Features>) Peer::fold,
                OutputMode.Update(),
                Encoders.bean(Window.class),
                Encoders.bean(Features.class),
                GroupStateTimeout.NoTimeout());

        StreamingKMeansModel[] model = {new StreamingKMeansModel(centers, weights)};
        VoidFunction2<Dataset<Features>, Long> learn = (batch, number) -> {
            batch.persist();
            JavaRDD<Vector> vectors = batch.toJavaRDD().map(each -> Vectors.dense(
                Math.log1p(each.getPurchases()) * scales[0], Math.log1p(each.getSpend() / 100.0) * scales[1]));
            model[0] = model[0].update(vectors.rdd(), 1.0, "batches");
            StreamingKMeansModel now = model[0];
            batch.map((MapFunction<Features, String>) each -> {
                int segment = now.predict(Vectors.dense(
                    Math.log1p(each.getPurchases()) * scales[0], Math.log1p(each.getSpend() / 100.0) * scales[1]));
                return "[\"" + each.getCustomer() + "\"," + each.getPurchases() + "," + segment + "]";
            }, Encoders.STRING())
                .toDF("value")
                .write()
                .format("kafka")
                .option("kafka.bootstrap.servers", servers)
                .option("topic", output)
                .save();
            batch.unpersist();
        };
        features.writeStream()
            .outputMode("update")
            .option("checkpointLocation", checkpoint)
            .foreachBatch(learn)
            .start()
            .awaitTermination();
    }
}
