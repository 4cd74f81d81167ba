package routing

import (
	"encoding/json"
	"strings"

	"swerve/failover"
)

// Action is what an Op does.
type Action uint8

// The actions.
const (
	// ReplaceRoute puts a route into its slot, whatever the slot holds.
	ReplaceRoute Action = iota
	// AddRoute puts a route into its slot and fails where the slot is taken.
	AddRoute
	// DeleteRoute deletes one of our routes.
	DeleteRoute
	// AddRule adds a rule.
	AddRule
	// DeleteRule deletes one of our rules.
	DeleteRule
)

var actionWords = [...]struct{ object, verb string }{
	ReplaceRoute: {"route", "replace"},
	AddRoute:     {"route", "add"},
	DeleteRoute:  {"route", "del"},
	AddRule:      {"rule", "add"},
	DeleteRule:   {"rule", "del"},
}

// String returns the action in the words of ip(8), such as "route replace".
func (a Action) String() string { return actionWords[a].object + " " + actionWords[a].verb }

// onRule reports whether the action is about a rule.
func (a Action) onRule() bool { return a == AddRule || a == DeleteRule }

// removes reports whether the action deletes something.
func (a Action) removes() bool { return a == DeleteRoute || a == DeleteRule }

// Op is one change to the kernel.
type Op struct {
	Action Action
	// Route or Rule is set, depending on the action.
	Route Route
	Rule  Rule
}

// Family returns the family of the op's route or rule.
func (o Op) Family() failover.Family {
	if o.Action.onRule() {
		return o.Rule.Family
	}
	return o.Route.Family
}

// String returns the op as a shell command that calls ip(8).
func (o Op) String() string {
	flag := "-4 "
	if o.Family() == failover.IPv6 {
		flag = "-6 "
	}
	return "ip " + flag + o.words()
}

func (o Op) words() string {
	switch {
	case o.Action.onRule():
		return o.Action.String() + " " + o.Rule.String()
	case o.Action == DeleteRoute:
		return o.Action.String() + " " + o.Route.where()
	}
	return o.Action.String() + " " + o.Route.String()
}

// opJSON is an op in the output of "plan --json".
type opJSON struct {
	Object  string `json:"object"` // "route" or "rule"
	Action  string `json:"action"` // "replace", "add" or "del"
	Family  string `json:"family"`
	Table   int    `json:"table,omitempty"`
	Metric  uint32 `json:"metric,omitempty"`
	Pref    uint32 `json:"priority,omitempty"`
	Command string `json:"command"`
}

// MarshalJSON encodes what the op is about, and its command line for ip(8).
func (o Op) MarshalJSON() ([]byte, error) {
	words := actionWords[o.Action]
	out := opJSON{Object: words.object, Action: words.verb, Family: o.Family().String(), Command: o.String()}
	if o.Action.onRule() {
		out.Table, out.Pref = o.Rule.Table, o.Rule.Priority
	} else {
		out.Table, out.Metric = o.Route.Table, o.Route.Metric
	}
	return json.Marshal(out)
}

// shellWord quotes a word for a shell where that is necessary. Interface names may
// contain anything but a slash, a colon and white space.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@+/", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
