package tui

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"fiber is down":           "fiber is down",
		"a\x1b[2Jb":               "a?[2Jb",
		"a\x9b2Jb\x00":            "a?2Jb?",
		"one\r\ntwo\tthree":       "one  two three",
		"\u202eright\u200bzero":   "?right?zero",
		"bad \xff utf8":           "bad ? utf8",
		"ünïcödé 日本 e\u0301":      "ünïcödé 日本 e\u0301",
		"heart \u2764\ufe0f flag": "heart \u2764? flag",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"fiber", 5, "fiber"}, {"fiber", 4, "fib…"}, {"fiber", 1, "…"}, {"fiber", 0, ""}, {"fiber", -3, ""},
		{"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"日本語", 2, "…"},
		{"a b c", 3, "a…"}, {"", 0, ""},
	} {
		if got := cut(c.in, c.n, "…"); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.n, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in      string
		n, most int
		want    string
	}{
		{"", 10, 2, ""},
		{"one two three", 13, 1, "one two three"},
		{"one two three", 12, 2, "one two|three"},
		{"one two three", 7, 1, "one tw…"},
		{"one two three four", 7, 2, "one two|three…"},
		{"abcdefghij k", 4, 5, "abcd|efgh|ij k"},
		{"日本語日本語", 5, 3, "日本|語日|本語"},
		{"日本", 1, 3, "日本"}, // it fits nowhere: draw cuts it
	} {
		if got := strings.Join(wrap(c.in, c.n, c.most, "…"), "|"); got != c.want {
			t.Errorf("wrap(%q, %d, %d) = %q, want %q", c.in, c.n, c.most, got, c.want)
		}
	}
}

// Whatever the text, what is drawn fits, and has no control characters.
func TestDrawnLinesFit(t *testing.T) {
	looks := looks()
	rapid.Check(t, func(t *rapid.T) {
		var l line
		for _, s := range rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "spans") {
			l = append(l, say(rapid.SampledFrom([]tone{plain, faint, alarm}).Draw(t, "tone"), s))
		}
		width := rapid.IntRange(0, 40).Draw(t, "width")
		got := (&canvas{looks, size{width: width}, noon}).draw(l)
		if columns(got) > width || strings.ContainsAny(got, "\x1b\n\r\t\x00") {
			t.Fatalf("%q in %d columns", got, width)
		}
		most := rapid.IntRange(1, 3).Draw(t, "most")
		wrapped := wrap(clean(rapid.String().Draw(t, "text")), max(width, 2), most, looks.ellipsis)
		if len(wrapped) > most {
			t.Fatalf("%d lines, want %d: %q", len(wrapped), most, wrapped)
		}
		for _, l := range wrapped {
			if columns(l) > max(width, 2) {
				t.Fatalf("%q in %d columns", l, width)
			}
		}
	})
}

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{percent(nil), none}, {percent(new(0.0)), "0.0%"}, {percent(new(0.00001)), "<0.1%"}, {percent(new(0.314)), "31.4%"},
		{percent(new(0.99949)), "99.9%"}, {percent(new(0.9999)), "100%"}, {percent(new(1.0)), "100%"},
		{milliseconds(nil), none}, {milliseconds(new(0.04)), "0.0 ms"}, {milliseconds(new(999.94)), "999.9 ms"},
		{milliseconds(new(999.96)), "1000 ms"}, {milliseconds(new(12345.6)), "12346 ms"},
		{rate(nil), none}, {rate(new(uint64(0))), "0 b/s"}, {rate(new(uint64(999))), "999 b/s"},
		{rate(new(uint64(1000))), "1.0 kb/s"}, {rate(new(uint64(99_940))), "99.9 kb/s"}, {rate(new(uint64(99_960))), "100 kb/s"},
		{rate(new(uint64(999_600))), "1.0 Mb/s"}, {rate(new(uint64(1_234_567_890))), "1.2 Gb/s"},
		{rate(new(uint64(1<<64 - 1))), "18.4 Eb/s"},
		{timing(nil, nil), ""}, {timing(new(1.25), nil), "decided after 1.2 ms"},
		{timing(new(120.2), new(0.9)), "decided after 120.2 ms, done in 0.9 ms"},
		{moment(noon, noon.Add(-time.Minute)), "12:59:00"}, {moment(noon, noon.Add(-24*time.Hour)), "02-28 13:00:00"},
		{family("ipv6"), "IPv6"}, {family("ipv9"), "IPv9"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestTableDropsInOrderAndGrowsAlike(t *testing.T) {
	cols := []column{{width: 4}, {width: 6, rank: 1}, {width: 5, close: true, rank: 3, grow: 10}, {width: 5, grow: 10}, {width: 9, rank: 2}}
	on := &canvas{theme: looks()}
	for _, c := range []struct {
		room int
		want []int
	}{
		{10, []int{4, 0, 0, 5, 0}}, // columns without a rank stay, even if too wide
		{11, []int{4, 0, 0, 5, 0}},
		{13, []int{4, 0, 0, 7, 0}},
		{19, []int{4, 6, 0, 5, 0}},
		{29, []int{4, 6, 0, 15, 0}},
		{30, []int{4, 6, 0, 5, 9}},
		{36, []int{4, 6, 5, 5, 9}},
		{37, []int{4, 6, 5, 5, 9}}, // one to spare is not enough for two
		{38, []int{4, 6, 6, 6, 9}},
		{99, []int{4, 6, 15, 15, 9}},
	} {
		if got := on.table(c.room, cols...).widths; !equal(got, c.want) {
			t.Errorf("%d columns: %v, want %v", c.room, got, c.want)
		}
	}
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
