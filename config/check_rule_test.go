package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestFamiliesOfRules: which families a rule can match.
func TestFamiliesOfRules(t *testing.T) {
	for text, want := range map[string][2]bool{
		"{}":                                     {true, true},
		"{from: 10.0.0.0/8}":                     {true, false},
		"{from: [10.0.0.0/8, ::1], to: '::/0'}":  {false, true},
		"{proto: icmp}":                          {true, false},
		"{to: [10.0.0.0/8, ::1], proto: icmpv6}": {false, true},
	} {
		text = strings.TrimSuffix(strings.Replace(text, "{}", "{", 1), "}")
		sep := ", "
		if text == "{" {
			sep = ""
		}
		c := good(t, fmt.Sprintf("%srules: [%s%suse: default}]\n", minimal, text, sep))
		if got := c.Rules[0].Families(); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
