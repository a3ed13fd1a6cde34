// What the tests ask of a generated Go client; prints what came out as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	predmesh "predmesh-client-flights"
	everythingv2 "predmesh-client-flights/every_thing_v2"
	flightdelayv1 "predmesh-client-flights/flight_delay_v1"
)

func flight(carrier string) *flightdelayv1.Inputs {
	departure, _ := time.Parse(time.RFC3339, "2013-12-30T16:51:00-05:00")
	return &flightdelayv1.Inputs{
		Carrier:            proto.String(carrier),
		Origin:             proto.String("EWR"),
		Dest:               proto.String("ORD"),
		Tailnum:            proto.String("N27724"),
		ScheduledDeparture: timestamppb.New(departure),
		DistanceMiles:      proto.Float64(719),
	}
}

var words = regexp.MustCompile("([a-z])([A-Z])")

func told(err error) map[string]any {
	var refused *predmesh.Error
	if !errors.As(err, &refused) {
		panic(fmt.Sprintf("not an error of the mesh: %v", err))
	}
	violations := []map[string]string{}
	for _, each := range refused.Violations {
		violations = append(violations, map[string]string{"field": each.Field, "description": each.Description})
	}
	code := strings.ToUpper(words.ReplaceAllString(refused.Code.String(), "${1}_$2"))
	return map[string]any{"code": code, "reason": refused.Reason, "violations": violations}
}

func must[Answer any](answer Answer, err error) Answer {
	if err != nil {
		panic(err)
	}
	return answer
}

func main() {
	ctx := context.Background()
	mesh, silent, flaky := os.Args[1], os.Args[2], os.Args[3]
	client := must(flightdelayv1.NewFlightDelayClient(mesh, predmesh.WithTimeout(20*time.Second)))
	defer client.Close()

	answer := must(client.Predict(ctx, flight("UA")))
	explained := must(client.Explain(ctx, flight("UA"), 2, ""))
	said := map[string]any{
		"enum":    everythingv2.Carrier_CARRIER_9E.String(),
		"predict": answer.GetPrediction().GetLateProbability(),
		"bundle":  answer.GetProvenance().GetBundleId(),
	}
	batch, features, streamed := []float64{}, []string{}, []any{}
	for _, each := range must(client.PredictBatch(ctx, []*flightdelayv1.Inputs{flight("UA"), flight("UA")})).GetPredictions() {
		batch = append(batch, each.GetLateProbability())
	}
	for _, each := range explained.GetExplanation().GetAttributions() {
		features = append(features, each.GetFeature())
	}
	rows := []*flightdelayv1.Inputs{flight("UA"), flight("UAA"), flight("UA")}
	for each, err := range client.StreamPredict(ctx, slices.Values(rows)) {
		if err != nil {
			streamed = append(streamed, told(err))
		} else {
			streamed = append(streamed, each.GetPrediction().GetLateProbability())
		}
	}
	said["batch"], said["explain"], said["stream"] = batch, features, streamed

	_, err := client.PredictBatch(ctx, []*flightdelayv1.Inputs{flight("UAA")})
	said["refused"] = told(err)
	_, err = must(flightdelayv1.NewFlightDelayClient(silent, predmesh.WithTimeout(200*time.Millisecond))).Predict(ctx, flight("UA"))
	said["late"] = told(err)
	unreliable := must(flightdelayv1.NewFlightDelayClient(flaky, predmesh.WithToken("secret"), predmesh.WithTimeout(20*time.Second)))
	said["retried"] = len(must(unreliable.PredictBatch(ctx, rows)).GetPredictions()) == 0
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		panic(err)
	}
}
