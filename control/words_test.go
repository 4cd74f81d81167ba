package control

import (
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", 192 * time.Second: "3m12s",
		time.Hour: "1h0m", 3*time.Hour + 12*time.Minute + 59*time.Second: "3h12m", 26 * time.Hour: "1d2h",
		99*24*time.Hour + 23*time.Hour: "99d23h", 400 * 24 * time.Hour: "400d",
	} {
		if got := Age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	noon := At(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	if got := AgeAt(At(noon.Add(time.Minute)), noon); got != "1m0s" {
		t.Errorf("a minute after noon: %s", got)
	}
	if a, b := AgeAt(Time{}, noon), AgeAt(noon, Time{}); a != NotKnown || b != NotKnown {
		t.Errorf("without a time: %s, %s", a, b)
	}
}

func TestCarriers(t *testing.T) {
	for want, shares := range map[string][]Share{
		"nothing":               nil,
		"fiber":                 {{Uplink: "fiber", Weight: 3}},
		"fiber (3) + cable (1)": {{Uplink: "fiber", Weight: 3}, {Uplink: "cable", Weight: 1}},
	} {
		if got := Carriers(shares); got != want {
			t.Errorf("%v: %s, want %s", shares, got, want)
		}
	}
}
