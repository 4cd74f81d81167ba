package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"swerve/config"
	"swerve/control"
)

// An interface that rules name and that is not there is a note, an uplink's name in its
// place a warning; both are over once it is there, or the file is corrected.
func TestRuleInterfaces(t *testing.T) {
	const file = twoUplinks + `
policies:
  - {name: default, tiers: [fiber, lte]}
  - {name: guests, tiers: [lte]}
rules:
  - {in: lan0, use: guests}
  - {in: [lan0, wan9], proto: tcp, use: guests}
  - {in: fiber, use: guests}
  - {in: wan9, proto: udp, use: guests}
`
	inBubble(t, file, func(t *testing.T, r *rig) {
		names := []string{"lo", "eth0", "eth1", "lan0"}
		r.interfaces = func() ([]string, error) { return names, nil }
		r.start()
		r.after(3 * time.Second)
		found := map[string]control.Problem{}
		for _, p := range r.status().Problems {
			if p.Code == "rule-interface" {
				found[p.Object] = p
			}
		}
		absent, uplink := found["wan9"], found["fiber"]
		if len(found) != 2 || absent.Severity != control.Info || !strings.HasPrefix(absent.Text, "rules[1].in, rules[3].in (line 12): this machine has no interface wan9 now") ||
			uplink.Severity != control.Warning || !strings.Contains(uplink.Text, "rules[2].in (line 13): fiber is an uplink, not an interface") {
			t.Errorf("%+v", found)
		}
		names = append(names, "wan9")
		r.after(2 * time.Minute)
		if p := r.problem("rule-interface"); p == nil || p.Object != "fiber" {
			t.Errorf("wan9 is there: %+v", p)
		}
		if err := r.reload(strings.Replace(file, "in: fiber", "in: lan0, proto: icmp", 1)); err == nil {
			t.Error("the first rule covers that one") // it is refused as such
		}
		if err := r.reload(strings.Replace(file, "  - {in: fiber, use: guests}\n", "", 1)); err != nil {
			t.Fatal(err)
		}
		r.after(time.Second)
		if p := r.problem("rule-interface"); p != nil {
			t.Errorf("corrected: %+v", p)
		}
	})
}

// However many there are, what is said of them is bounded.
func TestManyRuleInterfaces(t *testing.T) {
	cfg := &config.Config{}
	for i := range 500 {
		r := config.Rule{Line: i + 1}
		r.In = []string{fmt.Sprintf("port%d", i/100), fmt.Sprintf("vlan%d", i)}
		cfg.Rules = append(cfg.Rules, r)
	}
	found, err := strangeInterfaces(cfg, func() ([]string, error) { return []string{"lo"}, nil })
	if err != nil {
		t.Fatal(err)
	}
	all := strangeProblems(found)
	if len(all) != mostStrangeInterfaces+1 || !strings.HasPrefix(all[mostStrangeInterfaces].Text, "rules name 497 more interfaces") ||
		!strings.Contains(all[0].Text, "rules[7].in and 92 more (line 1)") {
		t.Errorf("%d: %+v", len(all), all)
	}
}

// The check on the machine says the same.
func TestRuleInterfacesAreChecked(t *testing.T) {
	cfg, found := config.Parse("swerve.yaml", []byte(twoUplinks+"policies: [{name: guests, tiers: [lte]}]\nrules:\n  - {in: nonesuch0, use: guests}\n"))
	if len(found) > 0 {
		t.Fatal(found)
	}
	if text := strings.Join(MachineWarnings(cfg, cfg.Uplinks), "\n"); !strings.Contains(text, "rules[0].in (line 7): this machine has no interface nonesuch0 now") {
		t.Errorf("%s", text)
	}
}
