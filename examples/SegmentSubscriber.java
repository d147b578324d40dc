import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Runs a campaign action for each move between segments. Needs kafka-clients and jackson-databind:
 * KAFKA_BOOTSTRAP_SERVERS=localhost:9092 java -cp 'libs/*' SegmentSubscriber.java
 *
 * <p>Offsets are committed after the action, so some actions are repeated after a crash: pass
 * ce_id, which stays the same, to the system that acts as its idempotency key.
 */
public class SegmentSubscriber {
    static final String CHANGES = "segment-changes.v1";
    static final String STATES = "customer-segments.v1";
    static final ObjectMapper JSON = new ObjectMapper();

    /** Highest version handled per customer. Keep both maps in your database to restart safely. */
    final Map<String, Long> latest = new HashMap<>();

    /** Customers opted out of marketing, and the version of the opt-out. */
    final Map<String, Long> refused = new HashMap<>();

    /** Put your campaign here. */
    void act(String key, String customer, String left, String entered) {
        System.out.printf("%s %s %s -> %s%n", key, customer, left, entered);
    }

    /** Delete your data about an erased customer here. */
    void forget(String customer) {
        System.out.printf("forget %s%n", customer);
    }

    void handle(ConsumerRecord<String, String> record) throws Exception {
        String customer = record.key();
        long version = Long.parseLong(header(record, "livesegments-version"));
        long known = latest.getOrDefault(customer, -1L);
        JsonNode event = record.value() == null ? null : JSON.readTree(record.value());
        if (record.topic().equals(STATES)) {
            if (event == null) { // older changes may still arrive
                latest.put(customer, Math.max(version, known));
                forget(customer);
            } else if (saidNo(event)) {
                refused.put(customer, version);
            }
        } else if (version > known) { // otherwise a duplicate
            latest.put(customer, version);
            JsonNode left = event.get("previous_segment");
            JsonNode entered = event.get("segment");
            boolean may = !saidNo(event) && refused.getOrDefault(customer, -1L) < version;
            may &= !event.get("origin").asText().equals("backfill");
            if (!left.isNull() && !entered.isNull() && may) {
                String key = header(record, "ce_id");
                act(key, customer, left.get("id").asText(), entered.get("id").asText());
            }
        }
    }

    static boolean saidNo(JsonNode event) {
        return !event.get("consent").get("marketing").asBoolean(true); // null: unknown
    }

    static String header(ConsumerRecord<?, ?> record, String name) {
        return new String(record.headers().lastHeader(name).value(), StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        Map<String, String> env = System.getenv();
        settings.put("bootstrap.servers", env.getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"));
        settings.put("group.id", env.getOrDefault("GROUP_ID", "segment-subscriber"));
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        SegmentSubscriber subscriber = new SegmentSubscriber();
        var text = new StringDeserializer();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, text, text)) {
            consumer.subscribe(List.of(CHANGES, STATES));
            while (true) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(1));
                for (ConsumerRecord<String, String> record : records) {
                    subscriber.handle(record);
                }
                if (!records.isEmpty()) {
                    consumer.commitSync();
                }
            }
        }
    }
}
