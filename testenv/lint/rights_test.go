package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRightsNameTests checks that each test which an ordinary user's `make test` omits
// exists, in one package only: tests are omitted by their names alone.
func TestRightsNameTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "testenv/rights"))
	if err != nil {
		t.Fatal(err)
	}
	where := testsByName(t)
	explained := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if right, _, ok := strings.Cut(strings.TrimPrefix(line, "# "), ": "); ok {
			explained[right] = true
		}
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 3 || !explained[f[0]] {
			t.Errorf("%q is not an explained right, a package and a test", line)
			continue
		}
		name, _, _ := strings.Cut(f[2], "/")
		if got := where[name]; len(got) != 1 || got[0] != f[1] {
			t.Errorf("%s is in %v, want it in %s alone", name, got, f[1])
		}
	}
	if len(explained) == 0 {
		t.Error("no right is explained: the parser is broken")
	}
}

// TestLongTestsExist checks that each test which SHORT=1 leaves out exists, in one package.
func TestLongTestsExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^LONG += (\S+)$`).FindSubmatch(text)
	if list == nil {
		t.Fatal("the Makefile has no LONG")
	}
	where := testsByName(t)
	for _, name := range strings.Split(string(list[1]), "|") {
		if got := where[name]; len(got) != 1 {
			t.Errorf("%s is in %v, want it in one package", name, got)
		}
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsByName returns the packages that have a test of each name.
func testsByName(t *testing.T) map[string][]string {
	t.Helper()
	where := map[string][]string{}
	for _, file := range sources(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range testFunc.FindAllStringSubmatch(string(text), -1) {
			where[found[1]] = append(where[found[1]], filepath.Dir(file))
		}
	}
	return where
}
