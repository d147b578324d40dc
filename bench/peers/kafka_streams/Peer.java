import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams, exactly once: rolling features in a store, the nearest of five centroids. */
public final class Peer {
    static final String STORE = "customers";
    static final int TILES = 30;
    static final long TILE_SECONDS = 3 * 86_400;
    static final double[] SCALES = numbers("PEER_SCALES");
    static final double[] CENTROIDS = numbers("PEER_CENTROIDS");
    static final ObjectMapper JSON = new ObjectMapper();

    static double[] numbers(String variable) {
        return Arrays.stream(System.getenv(variable).split(",")).mapToDouble(Double::parseDouble).toArray();
    }

    static int nearest(long purchases, long cents) {
        double x = Math.log1p(purchases) * SCALES[0], y = Math.log1p(cents / 100.0) * SCALES[1];
        int best = 0;
        double least = Double.POSITIVE_INFINITY;
        for (int k = 0; k < CENTROIDS.length / 2; k++) {
            double dx = x - CENTROIDS[2 * k], dy = y - CENTROIDS[2 * k + 1];
            if (dx * dx + dy * dy < least) {
                least = dx * dx + dy * dy;
                best = k;
            }
        }
        return best;
    }

    /** A customer's record: the segment told last, the latest tile, and a ring of (count, cents). */
    static final class Segmenter implements FixedKeyProcessor<String, byte[], byte[]> {
        private FixedKeyProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> store;

        @Override
        public void init(FixedKeyProcessorContext<String, byte[]> context) {
            this.context = context;
            this.store = context.getStateStore(STORE);
        }

        @Override
        public void process(FixedKeyRecord<String, byte[]> record) {
            JsonNode purchase;
            try {
                purchase = JSON.readTree(record.value());
            } catch (IOException error) {
                throw new IllegalArgumentException(error);
            }
            String customer = purchase.get("customer_id").textValue();
            long tile = Math.floorDiv(
                Instant.parse(purchase.get("occurred_at").textValue()).getEpochSecond(), TILE_SECONDS);
            long cents = Math.round(purchase.get("amount").doubleValue() * 100);

            byte[] bytes = store.get(customer);
            boolean known = bytes != null;
            ByteBuffer ring = ByteBuffer.wrap(known ? bytes : new byte[12 + TILES * 12]);
            int before = known ? ring.getInt(0) : -1;
            long head = known ? ring.getLong(4) : tile;
            for (long t = Math.max(head + 1, tile - TILES + 1); t <= tile; t++) {
                ring.putInt(at(t), 0).putLong(at(t) + 4, 0);
            }
            head = Math.max(head, tile);
            if (tile > head - TILES) {
                ring.putInt(at(tile), ring.getInt(at(tile)) + 1);
                ring.putLong(at(tile) + 4, ring.getLong(at(tile) + 4) + cents);
            }
            long purchases = 0, spend = 0;
            for (int t = 0; t < TILES; t++) {
                purchases += ring.getInt(at(t));
                spend += ring.getLong(at(t) + 4);
            }
            int now = nearest(purchases, spend);
            ring.putInt(0, now).putLong(4, head);
            store.put(customer, ring.array());
            if (now != before) {
                String change = "[\"" + customer + "\"," + before + "," + now + "]";
                context.forward(record.withValue(change.getBytes()));
            }
        }

        private static int at(long tile) {
            return 12 + (int) Math.floorMod(tile, TILES) * 12;
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, String> environment = System.getenv();
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, environment.get("PEER_GROUP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, environment.get("PEER_BOOTSTRAP"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Runtime.getRuntime().availableProcessors());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, environment.get("PEER_STATE"));
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");

        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore(STORE), Serdes.String(), Serdes.ByteArray()));
        builder.stream(environment.get("PEER_INPUT"), Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .processValues(Segmenter::new, STORE)
            .to(environment.get("PEER_OUTPUT"), Produced.with(Serdes.String(), Serdes.ByteArray()));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }
}
