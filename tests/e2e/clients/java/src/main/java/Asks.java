import com.google.gson.Gson;
import com.google.protobuf.Timestamp;
import dev.predmesh.clients.flights.Options;
import dev.predmesh.clients.flights.PredictionException;
import dev.predmesh.clients.flights.every_thing_v2.Carrier;
import dev.predmesh.clients.flights.flight_delay_v1.FlightDelayClient;
import dev.predmesh.clients.flights.flight_delay_v1.Inputs;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What the tests ask of a generated Java client; prints what came out as JSON. */
public final class Asks {
  private static final Duration LONG = Duration.ofSeconds(20);

  private Asks() {}

  public static void main(String[] servers) {
    Map<String, Object> said = new HashMap<>();
    Options patient = Options.DEFAULT.withTimeout(LONG);
    try (var client = new FlightDelayClient(servers[0], patient)) {
      var answer = client.predict(flight("UA"));
      said.put("enum", Carrier.CARRIER_9E.name());
      said.put("predict", answer.getPrediction().getLateProbability());
      said.put("bundle", answer.getProvenance().getBundleId());
      var batch = client.predictBatch(List.of(flight("UA"), flight("UA")));
      said.put("batch", batch.getPredictionsList().stream().map(each -> each.getLateProbability()).toList());
      var explained = client.explain(flight("UA"), 2, "").getExplanation();
      said.put("explain", explained.getAttributionsList().stream().map(each -> each.getFeature()).toList());
      List<Object> streamed = new ArrayList<>();
      client.streamPredict(
          List.of(flight("UA"), flight("UAA"), flight("UA")).iterator(),
          LONG,
          each ->
              streamed.add(
                  each.error() != null
                      ? told(each.error())
                      : each.response().getPrediction().getLateProbability()));
      said.put("stream", streamed);
      said.put("refused", refusal(() -> client.predictBatch(List.of(flight("UAA")))));
    }
    try (var client = new FlightDelayClient(servers[1])) {
      said.put("late", refusal(() -> client.within(Duration.ofMillis(200)).predict(flight("UA"))));
    }
    try (var client = new FlightDelayClient(servers[2], patient.withToken(() -> "secret"))) {
      said.put("retried", client.predictBatch(List.of(flight("UA"))).getPredictionsCount() == 0);
    }
    System.out.println(new Gson().toJson(said));
  }

  private static Inputs flight(String carrier) {
    var departure = OffsetDateTime.parse("2013-12-30T16:51:00-05:00");
    return Inputs.newBuilder()
        .setCarrier(carrier)
        .setOrigin("EWR")
        .setDest("ORD")
        .setTailnum("N27724")
        .setScheduledDeparture(Timestamp.newBuilder().setSeconds(departure.toEpochSecond()))
        .setDistanceMiles(719)
        .build();
  }

  private static Map<String, Object> told(PredictionException error) {
    var violations =
        error.violations().stream()
            .map(each -> Map.of("field", each.field(), "description", each.description()))
            .toList();
    return Map.of("code", error.code().name(), "reason", error.reason(), "violations", violations);
  }

  private static Object refusal(Runnable call) {
    try {
      call.run();
      return null;
    } catch (PredictionException error) {
      return told(error);
    }
  }
}
