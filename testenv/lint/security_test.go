package lint

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSecurityNamesTests checks that each test which docs/SECURITY.md names as what holds
// a claim exists.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	where, count := testsByName(t), 0
	for _, found := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(text), -1) {
		count++
		if len(where[found[1]]) == 0 {
			t.Errorf("there is no %s", found[1])
		}
	}
	if count < 20 {
		t.Errorf("only %d tests are named; is the pattern right?", count)
	}
}

// TestNoProgramIsRun checks that the product has nothing to run other programs with.
func TestNoProgramIsRun(t *testing.T) {
	for _, file := range sources(t) {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "testenv/") || strings.HasPrefix(file, "packaging/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); slices.Contains([]string{"os/exec", "plugin"}, path) {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
