package config

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"swerve/failover"
	"swerve/target"
)

// TestSummary compares the summary of each good file with the text beside it.
func TestSummary(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("good files: %d, %v", len(files), err)
	}
	own := []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fd00::1")} // of the machine
	for _, file := range files {
		c, list := Load(file)
		if len(list) > 0 {
			t.Fatal(lines(list))
		}
		uplinks := c.Uplinks
		if c.AutoUplinks {
			uplinks = c.Auto([]DefaultRoute{{Interface: "wwan0", Metric: 0}})
		}
		var b strings.Builder
		if err := c.Summary(&b, uplinks, own, noneFound); err != nil {
			t.Fatal(err)
		}
		wantFile := strings.TrimSuffix(file, ".yaml") + ".want"
		if *update {
			if err := os.WriteFile(wantFile, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(wantFile)
		if err != nil || b.String() != string(want) {
			t.Errorf("%s: %v\ngot:\n%s\nwant:\n%s", file, err, b.String(), want)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

func TestSummaryReturnsTheWritersError(t *testing.T) {
	c := good(t, minimal)
	if err := c.Summary(brokenWriter{}, c.Uplinks, nil, noneFound); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

// TestProbeVolume computes by hand what a month of the default probes uses.
func TestProbeVolume(t *testing.T) {
	const (
		ipv4    = 20 + 8 + 24 // IP, ICMP, payload
		ipv6    = 40 + 8 + 24
		seconds = 30 * 24 * 3600
	)
	u := good(t, minimal).Uplinks[0]
	for _, c := range []struct {
		what     string
		uplink   Uplink
		interval time.Duration
		want     float64
	}{
		{"each second", u, time.Second, seconds * 2 * (3*ipv4 + 3*ipv6)},
		{"each 30 s", u, 30 * time.Second, seconds / 30 * 2 * (3*ipv4 + 3*ipv6)},
		{"IPv4 alone", Uplink{Probe: u.Probe}, time.Second, seconds * 2 * 3 * ipv4},
		{"no target", Uplink{IPv6: true}, time.Second, 0},
	} {
		if got := c.uplink.ProbeVolume(c.interval); math.Abs(got-c.want) > 1 {
			t.Errorf("%s: %.0f bytes, want %.0f", c.what, got, c.want)
		}
	}
}

// TestWireBytes: more expensive methods count for more, and every method counts.
func TestWireBytes(t *testing.T) {
	for _, f := range failover.Families {
		last := 0
		host := [2]string{"192.0.2.1", "[2001:db8::1]"}[f]
		for _, s := range []string{"gateway", "dns://" + host + "/example.com", "tcp://" + host + ":1", "http://" + host, "https://" + host} {
			asked, err := target.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			n := target.WireBytes(asked, f)
			if n <= last {
				t.Errorf("%s: %s takes %d bytes, not over %d", f, s, n, last)
			}
			last = n
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "60s": time.Minute,
	} {
		got, ok := durationOf(text)
		if again, _ := durationOf(FormatDuration(got)); !ok || got != want || again != want {
			t.Errorf("%s: %v, %v, written %s", text, got, ok, FormatDuration(got))
		}
	}
	for _, text := range []string{"", "1", "d", "1.5d", "-1d", "1d-1h", "1d25h", "99999d", "1h d", "one"} {
		if got, ok := durationOf(text); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
	for v, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s", 61 * time.Minute: "1h1m", 20 * time.Millisecond: "20ms",
		time.Hour + time.Second: "1h0m1s", 10 * time.Second: "10s", 10 * time.Minute: "10m", 20 * time.Hour: "20h",
	} {
		if got := FormatDuration(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"interface", "interval", "quorum", "use", "to"}
	for word, want := range map[string]string{
		"intreface": "interface", "Interface": "interface", "inteval": "interval", "qorum": "quorum", "uses": "use", "form": "",
		"": "", "x": "", "ot": "to", strings.Repeat("interface", 20): "",
	} {
		if got, _ := nearest(word, words); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

func TestShow(t *testing.T) {
	for text, want := range map[string]string{
		"5ms": "5ms", "": `""`, "a b": `"a b"`, "a;b": `"a;b"`, "a\nb": `"a\nb"`, "ü": `"ü"`, "0x1/0xff": "0x1/0xff",
		strings.Repeat("é", 40): `"` + strings.Repeat("é", 30) + `"…`,
	} {
		if got := show(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func noneFound(Uplink) []string { return nil }

// What was found native is shown beside what the file says.
func TestSummaryShowsNativeNetworks(t *testing.T) {
	c := good(t, minimal)
	found := func(Uplink) []string {
		return []string{"192.168.5.0/24 (found at the first start)", "2001:db8:5::/64 (proven by a probe)"}
	}
	var b strings.Builder
	if err := c.Summary(&b, c.Uplinks, nil, found); err != nil {
		t.Fatal(err)
	}
	want := "192.168.5.0/24 (found at the first start), 2001:db8:5::/64 (proven by a probe), the link's own IPv6 prefix\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("the summary lacks %q:\n%s", want, b.String())
	}
}

// The prefixes that are translated are shown.
func TestSummaryShowsTranslation(t *testing.T) {
	c := good(t, "uplinks: [{name: a, interface: eth0, snat6: npt, npt: {fd00:1::/64: auto/2, fd00:2::/56: 2001:db8:1:100::/56}}, {name: b, interface: eth1}]\n")
	var b strings.Builder
	if err := c.Summary(&b, c.Uplinks, nil, noneFound); err != nil {
		t.Fatal(err)
	}
	want := "prefix translation:\n  a  fd00:1::/64 to auto/2, fd00:2::/56 to 2001:db8:1:100::/56\nprobe volume"
	if !strings.Contains(b.String(), want) {
		t.Errorf("the summary lacks %q:\n%s", want, b.String())
	}
}
