package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The bounds on the lengths of functions, in lines from brace to brace.
const (
	longest      = 70 // none is longer, tests included
	ninetieth    = 45 // nine of ten of the product's are under this
	middleMost   = 14 // the product's median is at most this
	fewFunctions = 50 // with fewer, the walk is broken
)

func TestFunctionsAreShort(t *testing.T) {
	var product []int
	for _, file := range sources(t) {
		for name, lines := range functions(t, file) {
			if lines > longest {
				t.Errorf("%s: %s has %d lines, more than %d", file, name, lines, longest)
			}
			if !strings.HasSuffix(file, "_test.go") {
				product = append(product, lines)
			}
		}
	}
	if len(product) < fewFunctions {
		t.Fatalf("found %d functions: the walk is broken", len(product))
	}
	slices.Sort(product)
	if got := product[len(product)/2]; got > middleMost {
		t.Errorf("the median function has %d lines, more than %d", got, middleMost)
	}
	if got := product[len(product)*9/10]; got >= ninetieth {
		t.Errorf("the 90th percentile of functions has %d lines, not under %d", got, ninetieth)
	}
}

// functions returns the number of lines of each function of a file.
func functions(t *testing.T, file string) map[string]int {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, filepath.Join(root, file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	lengths := map[string]int{}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			name := fset.Position(fn.Pos()).String() + " " + fn.Name.Name
			lengths[name] = fset.Position(fn.Body.Rbrace).Line - fset.Position(fn.Body.Lbrace).Line
		}
	}
	return lengths
}

// TestNothingIsSkipped checks that no test skips itself: a test that cannot run has to
// fail, since a skip for lack of privilege would look like a pass.
func TestNothingIsSkipped(t *testing.T) {
	for _, file := range sources(t) {
		if !strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "testenv/lint/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "t.Skip") || strings.Contains(line, "testing.Short()") {
				t.Errorf("%s:%d: a test is skipped: %s", file, n+1, strings.TrimSpace(line))
			}
		}
	}
}

// mostMethods bounds the methods of a product's type: one that has more owns more than
// a reader can hold.
const mostMethods = 45

func TestTypesHaveFewMethods(t *testing.T) {
	methods := map[string]int{}
	for _, file := range sources(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil {
				continue
			}
			of := f.Recv.List[0].Type
			if pointer, ok := of.(*ast.StarExpr); ok {
				of = pointer.X
			}
			if name, ok := of.(*ast.Ident); ok {
				methods[filepath.Dir(file)+"."+name.Name]++
			}
		}
	}
	if len(methods) < fewFunctions {
		t.Fatalf("found methods of %d types: the walk is broken", len(methods))
	}
	for of, n := range methods {
		if n > mostMethods {
			t.Errorf("%s has %d methods, more than %d", of, n, mostMethods)
		}
	}
}
