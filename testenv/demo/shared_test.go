package main

import (
	"regexp"
	"strings"
	"testing"

	"swerve/testenv/lab"
)

// The demo of a shared load plays to its end, and shows what it promises: shares by weight,
// an overflow that ends, the loss of one line that moves its own flows alone, a policy that
// is blocked, and the operator's hand.
func TestSharedDemo(t *testing.T) {
	t.Parallel()
	binary, err := lab.Build(t.TempDir(), "cmd/swerve")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = performShared(t.Context(), options{binary: binary}, &out, func(string) error { return nil })
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	rest := out.String()
	for _, want := range []string{
		`600 new flows: \d+ by fiber \(([67]\d|8[0-4]) %\), \d+ by cable`,
		`rule 1 \(line 9\) sends it by policy cameras`,
		`default IPv4 overflows fiber\+cable → lte`,
		`% of what all three can carry`,
		`default IPv4 overflow ends`,
		`the same flows: 400 by fiber \(100 %\); [1-9]\d* of cable's moved, 0 others did`,
		`the rest is blocked: connection refused`,
		`400 new flows: \d+ by fiber \(\d+ %\), \d+ by cable`,
		`100 new flows: 100 by lte \(100 %\)`,
		`swerve drain fiber`,
		`the same flows: \d+ by fiber \(\d+ %\), \d+ by cable`,
		`100 new flows: 100 by cable \(100 %\)`,
		`this machine is as it was before`,
	} {
		at := regexp.MustCompile(want).FindStringIndex(rest)
		if at == nil {
			t.Fatalf("the demo does not say %q where it is expected:\n%s", want, out.String())
		}
		rest = rest[at[1]:]
	}
}
