package control

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// The page for users names every field of the wire, and every word of its sets.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	words := []string{string(OK), string(Info), string(Warning), string(Critical), string(Auto), string(Drained), string(Switched)}
	for _, s := range []State{Unknown, Absent, Up, Degraded, Suspect, Shunned, Down, Recovering} {
		words = append(words, string(s))
	}
	for _, e := range []EventType{EventHealth, EventSwitch, EventOverflow, EventSessions, EventRepair, EventOperator, EventConfig, EventDaemon} {
		words = append(words, string(e))
	}
	for _, v := range []any{Status{}, Daemon{}, Problem{}, Uplink{}, Counters{}, FamilyStatus{}, Target{}, Policy{},
		Share{}, Switch{}, SwitchDetail{}, HealthDetail{}, SessionsDetail{}, OverflowDetail{}, TierLoad{}, Rate{}, Sessions{}, RepairDetail{},
		Explanation{}, ExplainedRule{}, ExplainedUplink{}, Ordered{}, Resumed{}, Reloaded{}, Confirmed{}, switchRequest{}, reloadRequest{}, OperatorDetail{}, ConfigDetail{}, DaemonDetail{}, OtherDetail{}, eventHead{}, failure{}} {
		words = append(words, fieldsOf(reflect.TypeOf(v))...)
	}
	for _, w := range words {
		if !strings.Contains(string(page), "`"+w+"`") && !strings.Contains(string(page), "`"+w+"[]`") &&
			!strings.Contains(string(page), "`daemon."+w+"`") && w != "daemon" {
			t.Errorf("docs/API.md does not describe `%s`", w)
		}
	}
}

func fieldsOf(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			out = append(out, name)
		}
	}
	return out
}
