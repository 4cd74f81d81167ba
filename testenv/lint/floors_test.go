package lint

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors are the floors of the packages: an import goes only to a lower one. A package that is
// not listed has the floor of the nearest listed folder above it.
var floors = map[string]int{
	"failover":   0,
	"config":     1,
	"linkmon":    1,
	"routing":    1,
	"firewall":   1,
	"control":    2,
	"daemon":     3,
	"tui":        3,
	"cmd/swerve": 4,
	"testenv":    5,
	"packaging":  5,
}

// onlyTests may be imported by nothing but tests and itself: a lab has no
// place in the product.
const onlyTests = "testenv"

func TestImportsGoDown(t *testing.T) {
	files := sources(t)
	if len(files) < 50 {
		t.Fatalf("found %d Go files: the walk is broken", len(files))
	}
	for _, file := range files {
		from := place(filepath.Dir(file))
		for _, imported := range projectImports(t, file) {
			if why := wrong(from, place(imported), strings.HasSuffix(file, "_test.go")); why != "" {
				t.Errorf("%s imports %s: %s", file, imported, why)
			}
		}
	}
}

// wrong says what is wrong with an import, or nothing.
func wrong(from, to string, inTest bool) string {
	toFloor, known := floors[to]
	fromFloor, fromKnown := floors[from]
	switch {
	case !known || !fromKnown:
		return "no floor is given for it"
	case from == to, inTest && to == onlyTests:
		return ""
	case to == onlyTests:
		return "only tests, the demo and benchmarks may use the lab"
	case toFloor >= fromFloor:
		return "an import goes only to a lower floor"
	}
	return ""
}

func TestWrong(t *testing.T) {
	for _, c := range []struct {
		from, to string
		inTest   bool
		ok       bool
	}{
		{"config", "failover", false, true},
		{"failover", "config", false, false},
		{"linkmon", "routing", false, false},
		{"daemon", "tui", false, false},
		{"daemon", "testenv", false, false},
		{"daemon", "testenv", true, true},
		{"daemon", "nowhere", false, false},
	} {
		if got := wrong(c.from, c.to, c.inTest) == ""; got != c.ok {
			t.Errorf("import of %s by %s (test %v): allowed %v, want %v", c.to, c.from, c.inTest, got, c.ok)
		}
	}
}

// place names the listed folder that a package belongs to.
func place(pkg string) string {
	for p := pkg; p != "." && p != ""; p = filepath.Dir(p) {
		if _, ok := floors[p]; ok {
			return p
		}
	}
	return pkg
}

// projectImports lists a file's imports of this project, without its prefix.
func projectImports(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if rest, ours := strings.CutPrefix(path, "swerve/"); ours {
			found = append(found, rest)
		}
	}
	return found
}
