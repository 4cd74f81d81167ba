package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"
)

// maxMemory bounds what reading a file may allocate in total, freed or not: a good
// file of 2 MiB takes about 300 MB.
const maxMemory = 1 << 30

// TestHostile reads files that no person writes. Each gets a problem of its kind,
// within bounded memory; the deadline of the test run bounds the time.
func TestHostile(t *testing.T) {
	const full = 2 << 20
	deep := func(opening string) string { return "uplinks: " + strings.Repeat(opening, 50_000) }
	fill := func(head, unit string) string { return head + strings.Repeat(unit, (full-len(head))/len(unit)) }
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "is empty"},
		{"white", " \n\t\n", "is empty"},
		{"comments", fill("", "# x\n"), "is empty"},
		{"NUL", "uplinks: auto\n\x00", "NUL"},
		{"ELF", "\x7fELF\x02\x01\x01\x00", "is binary"},
		{"gzip", "\x1f\x8b\x08\x00", "is binary"},
		{"latin 1", "uplinks: auto # \xfc\n", "not UTF-8"},
		{"overlong", "uplinks: auto # \xc0\x80\n", "not UTF-8"},
		{"UTF-16 LE", "\xff\xfe" + utf16Text("uplinks: auto\n", 0), "UTF-16"},
		{"UTF-16 BE", "\xfe\xff" + utf16Text("uplinks: auto\n", 1), "UTF-16"},
		{"UTF-16 bare", utf16Text("uplinks: auto\n", 0), "is binary"},
		{"10 MB", strings.Repeat(minimal, 10_000_000/len(minimal)), "larger than 2 MiB"},
		{"a byte above 2 MiB", "uplinks: auto" + strings.Repeat(" ", full-12), "larger than 2 MiB"},
		{"deep lists", deep("["), "more than 32 deep"},
		{"deep mappings", deep("{a: "), "more than 32 deep"},
		{"deep flow, closed", deep("[") + strings.Repeat("]", 50_000), "more than 32 deep"},
		{"deep dashes", "uplinks:\n" + strings.Repeat("- ", 50_000), "more than 32 deep"},
		{"deep dashes and keys", stairs("- a:", 300), "more than 32 deep"},
		{"deep keys", stairs("a:", 1_000), "more than 32 deep"},
		{"question marks", strings.Repeat("? ", 50_000), "not YAML"},
		{"carriage returns", "uplinks: auto\rlog: {}\r", "carriage return"},
		{"empty lines", fill("state: |\n", "\n"), "empty lines"},
		{"commas", fill("uplinks: [", ","), "brackets and commas"},
		{"closing brackets", fill("", "]"), "brackets and commas"},
		{"some closing brackets", strings.Repeat("]", 10_000), "not YAML"},
		{"keys", fill("", "a: b\n"), "keys in one mapping"},
		{"flow keys", "log: {" + strings.Repeat("a: 1,", 10_000) + "}\n", "keys in one mapping"},
		{"items", fill("uplinks:\n", "-\n"), "items in one list"},
		{"a long key", strings.Repeat("k", 1<<20) + ": 1", "has a key of"},
		{"a long value", fill("uplinks: ", "k"), "is the single value"},
		{"long lines of quotes", fill("uplinks: ", `"`), "not YAML"},
		{"anchors", fill("uplinks: ", "&a "), "not YAML"},
		{"documents", fill("uplinks: auto\n", "---\n"), "second document"},
		{"second document", "uplinks: auto\n---\n", "second document"},
		{"alias to itself", "uplinks: &a [*a]\n", "alias to itself"},
		{"bare alias to itself", "uplinks: &a *a\n", "not YAML"},
		{"merge of itself", "uplinks: auto\nprobe: &a {<<: *a}\n", "alias to itself"},
		{"bomb", bomb(), "too many values"},
		{"merge bomb", mergeBomb(24), "too many values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := allocated()
			cfg, list := Parse("x", []byte(c.text))
			if used := allocated() - before; used > maxMemory {
				t.Errorf("allocated %d MB", used>>20)
			}
			if cfg != nil || !strings.Contains(lines(list), c.want) {
				t.Errorf("config %v, want a problem with %q, got %d:\n%.400s", cfg != nil, c.want, len(list), lines(list))
			}
			checkProblems(t, []byte(c.text), list)
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// utf16Text encodes a text; first is which of a unit's bytes comes first.
func utf16Text(s string, first int) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		pair := [2]byte{}
		pair[first], pair[1-first] = byte(u), byte(u>>8)
		b = append(b, pair[:]...)
	}
	return string(b)
}

// stairs repeats a line, indented by two more columns each time.
func stairs(line string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat("  ", i) + line + "\n")
	}
	return b.String()
}

// bomb expands to 36 million prefixes.
func bomb() string {
	return "uplinks: auto\nlog: {x: &w [" + strings.Repeat("1.1.1.1, ", 4_000) + "1.1.1.1]}\n" +
		"kernel: {x: &r {to: *w, use: default}}\nrules: [" + strings.Repeat("*r, ", 9_000) + "*r]\n"
}

// mergeBomb expands to 2 to the power of levels keys.
func mergeBomb(levels int) string {
	s := "uplinks: auto\nlog: {x: &m0 {level: info}}\n"
	for i := 1; i <= levels; i++ {
		s += fmt.Sprintf("x%d: &m%d {<<: *m%d, <<: *m%d}\n", i, i, i-1, i-1)
	}
	return s + fmt.Sprintf("probe: *m%d\n", levels)
}

// TestLargest: a file just below the limit, as a program might write it, is read
// within bounded memory.
func TestLargest(t *testing.T) {
	var b strings.Builder
	b.WriteString(minimal + "rules:\n")
	for i := range 2_000 {
		fmt.Fprintf(&b, "  - {from: [10.%d.%d.0/25, \"2001:db8:%x::/48\"], proto: tcp, ports: [443, 8000-8100], use: default} # %s\n",
			i/256, i%256, i, strings.Repeat("x", 900))
	}
	if b.Len() > maxFileSize || b.Len() < maxFileSize*9/10 {
		t.Fatalf("%d bytes", b.Len())
	}
	before := allocated()
	if n := len(good(t, b.String()).Rules); n != 2_000 {
		t.Errorf("%d rules", n)
	}
	if used := allocated() - before; used > maxMemory {
		t.Errorf("allocated %d MB", used>>20)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, data := range map[string]string{"good": minimal, "empty": "", "large": strings.Repeat("#", 3<<20)} {
		if err := os.WriteFile(path(name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(path("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path("loop"), path("loop")); err != nil {
		t.Fatal(err)
	}
	if c, list := Load(path("good")); c == nil || len(list) > 0 {
		t.Errorf("good: %v", list)
	}
	for name, want := range map[string]string{
		path("none"):  "cannot be read: no such file or directory; `swerve init` prints one for this machine",
		dir:           "cannot be read: is a directory; a readable file",
		path("loop"):  "cannot be read: too many levels of symbolic links; a readable file",
		path("pipe"):  "is empty; at least `uplinks: auto`",
		path("empty"): "is empty; at least `uplinks: auto`",
		path("large"): "is larger than 2 MiB; at most 2 MiB",
		"/dev/zero":   "is larger than 2 MiB; at most 2 MiB",
	} {
		c, list := Load(name)
		if want = name + ":1: file: " + want + "\n"; c != nil || lines(list) != want {
			t.Errorf("got %s, want %s", lines(list), want)
		}
	}
}
