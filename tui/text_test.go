package tui

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	human "swerve/control/say"
)

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
		wrapped := wrap(human.Clean(rapid.String().Draw(t, "text")), max(width, 2), most, looks.ellipsis)
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
