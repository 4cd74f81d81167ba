package lab

import (
	"strings"
	"testing"
	"time"
)

func TestEveryKindReadsAsItIsWritten(t *testing.T) {
	seen := map[Kind]bool{}
	for _, text := range []string{
		"carrier", "interface-down", "black-hole", "black-hole=ipv4", "black-hole=ipv6", "gateway-dead",
		"loss=60%", "loss-out=0.5%", "loss-in=100%", "stall=200ms", "delay=1.5s", "jitter=30ms", "rate=2000000",
		"flap=5x2s", "address-change", "gateway-change", "address-removal", "delete-rules", "delete-routes", "flush-ruleset",
		"target-dead=2620:fe::fe",
	} {
		s, err := ParseSpec(text)
		if err != nil {
			t.Errorf("%v", err)
		}
		if s.String() != text {
			t.Errorf("%q is written back as %q", text, s)
		}
		seen[s.Kind] = true
	}
	for _, k := range Kinds() {
		if !seen[k] {
			t.Errorf("%s is not tested", k)
		}
	}
}

func TestValuesOfFaults(t *testing.T) {
	for text, want := range map[string]Spec{
		"loss=60%":            {Kind: Loss, Part: 0.6},
		"stall=200ms":         {Kind: Stall, Duration: 200 * time.Millisecond},
		"flap=5x2s":           {Kind: Flap, Times: 5, Duration: 2 * time.Second},
		"black-hole":          {Kind: BlackHole},
		"rate=2000000":        {Kind: Rate, BitRate: 2e6},
		"target-dead=1.1.1.1": {Kind: TargetDead, Target: Targets[0]},
	} {
		if got, err := ParseSpec(text); err != nil || got != want {
			t.Errorf("%s reads as %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestWrongFaultsSayWhatWouldBeRight(t *testing.T) {
	for text, hint := range map[string]string{
		"":                    "want one of",
		"blackhole":           "black-hole",
		"carrier=1":           "takes no value",
		"loss":                "0% to 100%",
		"loss=0.6":            "0% to 100%",
		"loss=101%":           "0% to 100%",
		"loss=NaN%":           "0% to 100%",
		"stall":               "200ms",
		"stall=-1s":           "200ms",
		"flap=5":              "5x2s",
		"flap=0x1s":           "5x2s",
		"flap=2x0s":           "5x2s",
		"black-hole=":         "ipv4 or ipv6",
		"black-hole=ip":       "ipv4 or ipv6",
		"rate=0":              "bits a second",
		"target-dead=1.1.1.2": "1.1.1.1",
	} {
		if s, err := ParseSpec(text); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q reads as %+v, %v; want an error with %q", text, s, err, hint)
		}
	}
}
