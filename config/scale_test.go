package config

import (
	"fmt"
	"strings"
	"testing"
)

// manyRules is a file of so many rules, each made of its number, and of a policy for them.
func manyRules(rules int, rule func(i int) string) string {
	var b strings.Builder
	b.WriteString(minimal + "policies: [{name: guests, tiers: [lte]}]\nrules:\n")
	for i := range rules {
		fmt.Fprintf(&b, "  - {%s}\n", rule(i))
	}
	return b.String()
}

func oneAddress(i int) string { return fmt.Sprintf("from: 10.0.%d.%d, use: guests", i>>8, i&0xff) }

func fourKeys(i int) string {
	return fmt.Sprintf("from: 10.%d.%d.0/24, proto: tcp, ports: [%d], use: guests", i>>8, i&0xff, 1000+i%500)
}

// longList is a rule with as many addresses as a list may have.
func longList(rule int) string {
	all := make([]string, maxList)
	for i := range all {
		all[i] = fmt.Sprintf("10.%d.%d.%d", rule, i>>8, i&0xff)
	}
	return "to: [" + strings.Join(all, ", ") + "], use: guests"
}

// TestMistakesAmongManyRules: what is wrong with many rules beside others is reported for
// each of them, at its line.
func TestMistakesAmongManyRules(t *testing.T) {
	text := manyRules(maxItems, func(i int) string {
		if i%2 == 1 {
			return oneAddress(i) + "x"
		}
		return oneAddress(i)
	})
	first := strings.Count(text[:strings.Index(text, "rules:")], "\n") + 2
	c, list := Parse("f", []byte(text))
	if c != nil || len(list) != maxItems/2 {
		t.Fatalf("config %v, %d problems, want %d:\n%.400s", c != nil, len(list), maxItems/2, lines(list))
	}
	for n, p := range list {
		i := 2*n + 1
		want := fmt.Sprintf("f:%d: rules[%d].use: there is no policy guestsx; did you mean guests? It takes default or guests", first+i, i)
		if p.String() != want {
			t.Fatalf("got %s, want %s", p, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"rules=10", manyRules(10, fourKeys)},
		{"rules=10000", manyRules(maxItems, fourKeys)},
		{"rules=10000/addresses", manyRules(maxItems, oneAddress)},
		{"rules=12/lists", manyRules(12, longList)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if cfg, list := Parse("f", []byte(c.text)); cfg == nil {
					b.Fatal(lines(list))
				}
			}
		})
	}
}
