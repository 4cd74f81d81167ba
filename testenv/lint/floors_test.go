package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the floors of the packages: an import goes only to a lower one. A package
// that is not listed has the floor of the nearest listed folder above it.
var floors = map[string]int{
	"failover":   0,
	"lane":       1,
	"target":     1,
	"rule":       1,
	"config":     2,
	"linkmon":    2,
	"routing":    2,
	"firewall":   2,
	"control":    3,
	"daemon":     4,
	"tui":        4,
	"cmd/swerve": 5,
	"testenv":    6,
	"packaging":  6,
}

// onlyTests may be imported only by tests and by packages below it: the product must
// not use a lab.
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

// wrong returns what is wrong with an import, or "".
func wrong(from, to string, inTest bool) string {
	toFloor, known := floors[to]
	fromFloor, fromKnown := floors[from]
	switch {
	case !known || !fromKnown:
		return "it has no floor"
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

// place returns the listed folder that a package belongs to.
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

// familyWords are all that packages of floor 1 may use of failover: families belong to
// the whole system, everything else to the engine.
var familyWords = []string{"Family", "Families", "FamilyOf", "IPv4", "IPv6"}

func TestFloorOneTakesTheFamilyAlone(t *testing.T) {
	used := 0
	for _, file := range sources(t) {
		if floors[place(filepath.Dir(file))] != 1 || strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if from, ok := selector.X.(*ast.Ident); ok && from.Name == "failover" {
				used++
				if !slices.Contains(familyWords, selector.Sel.Name) {
					t.Errorf("%s uses failover.%s; packages of floor 1 may use only the family", file, selector.Sel.Name)
				}
			}
			return true
		})
	}
	if used == 0 {
		t.Fatal("no use of failover found: the walk is broken")
	}
}
