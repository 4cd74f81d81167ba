package main

import (
	"strings"
	"testing"
)

func TestTables(t *testing.T) {
	after := 0.62
	with := &Result{Event: "black-hole", Swerve: true, Watched: 12, Outcomes: []Outcome{
		{Protocol: "DNS", Family: "ipv4", Sent: 105, Lost: 1, Silence: 0.2, Back: true},
		{Protocol: "DNS", Family: "ipv6", Sent: 105, Silence: 0.2, Back: true},
		{Protocol: "TCP upload", Family: "ipv4", Broken: 1, BrokenAfter: &after, Silence: 0.64, Back: true},
		{Protocol: "TCP upload", Family: "ipv6", Broken: 1, BrokenAfter: &after, Silence: 0.64, Back: true},
	}}
	without := &Result{Event: "black-hole", Watched: 12, Outcomes: []Outcome{{Protocol: "DNS", Family: "ipv4", Sent: 105, Lost: 105, Silence: 12}}}
	got := tablesOf(&Report{Results: []*Result{with, without}})
	for _, want := range []string{
		"| DNS | 1 of 105; 0 | 0 | 0.2 | 105 of 105 | 0 | **to the end** |\n",
		"| TCP upload | – | 1 at 0.6 | 0.6 | – | – | – |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// What is wrong with a result is said, and nothing else.
func TestWrong(t *testing.T) {
	loss, calm := event{name: "loss", loss: true}, event{name: "calm"}
	for _, tc := range []struct {
		e    event
		o    Outcome
		want string
	}{
		{loss, Outcome{Protocol: "DNS", Back: true}, ""},
		{loss, Outcome{Protocol: "DNS"}, "is not back"},
		{loss, Outcome{Protocol: "QUIC, download only", Broken: 1, Back: true}, "was broken, and should go on"},
		{loss, Outcome{Protocol: "QUIC, download only", Reconnects: 1, Back: true}, "was broken, and should go on"},
		{loss, Outcome{Protocol: "TCP upload", Broken: 1, Reconnects: 1, Back: true}, ""},
		{loss, Outcome{Protocol: "TCP upload", Back: true}, "was not told of the loss"},
		{calm, Outcome{Protocol: "TCP upload", Back: true}, ""},
		{calm, Outcome{Protocol: "TCP upload", Broken: 1, Back: true}, "was broken"},
	} {
		r := &Result{Outcomes: []Outcome{tc.o}}
		got := r.wrong(tc.e)
		if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) {
			t.Errorf("%s %+v: %v, want %q", tc.e.name, tc.o, got, tc.want)
		}
	}
}
