// What the tests ask of a generated TypeScript client, in Node and in a browser.
import { Code, type Options, PredictionError, timestampFromDate } from "predmesh-client-flights";
import { Carrier } from "predmesh-client-flights/every_thing_v2";
import { FlightDelayClient, type Row } from "predmesh-client-flights/flight_delay_v1";

const FLIGHT: Row = {
  carrier: "UA",
  origin: "EWR",
  dest: "ORD",
  tailnum: "N27724",
  scheduledDeparture: timestampFromDate(new Date("2013-12-30T16:51:00-05:00")),
  distanceMiles: 719,
};
const WRONG: Row = { ...FLIGHT, carrier: "UAA" };

function told(error: unknown) {
  if (!(error instanceof PredictionError)) throw error;
  const code = Code[error.code].replace(/(?<!^)[A-Z]/g, "_$&").toUpperCase();
  return { code, reason: error.reason, violations: error.violations };
}

async function refusal(answer: Promise<unknown>) {
  return answer.then(() => undefined, told);
}

async function streamed(client: FlightDelayClient, rows: Row[]) {
  const answers: unknown[] = [];
  for await (const each of client.streamPredict(rows)) {
    answers.push(each instanceof PredictionError ? told(each) : each.prediction?.lateProbability);
  }
  return answers;
}

export async function ask(mesh: string, silent: string, flaky: string, transport: Options) {
  const client = new FlightDelayClient(mesh, { ...transport, timeoutMs: 20_000, token: "any" });
  const answer = await client.predict(FLIGHT);
  const batch = await client.predictBatch([FLIGHT, FLIGHT]);
  const explained = await client.explain(FLIGHT, { top: 2 });
  const unreliable = new FlightDelayClient(flaky, { ...transport, timeoutMs: 20_000, token: async () => "secret" });
  return {
    enum: Carrier[Carrier.CARRIER_9E],
    predict: answer.prediction?.lateProbability,
    bundle: answer.provenance?.bundleId,
    batch: batch.predictions.map((each) => each.lateProbability),
    explain: explained.explanation?.attributions.map((each) => each.feature),
    stream: await streamed(client, [FLIGHT, WRONG, FLIGHT]),
    long: await streamed(client, Array.from({ length: 250 }, (_, row) => (row % 50 === 49 ? WRONG : FLIGHT))),
    refused: await refusal(client.predictBatch([WRONG])),
    late: await refusal(new FlightDelayClient(silent, transport).within(200).predict(FLIGHT)),
    retried: (await unreliable.predictBatch([FLIGHT])).predictions.length === 0,
  };
}
