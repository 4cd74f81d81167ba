package section

import (
	"os"
	"path/filepath"
	"testing"
)

var figures = Section{Begin: "<!-- figures -->\n", End: "<!-- end -->\n"}

func TestMarksAreNeeded(t *testing.T) {
	if _, err := figures.Replace([]byte("no marks"), "x"); err == nil {
		t.Error("a text without marks was accepted")
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "document.md")
	if err := os.WriteFile(path, []byte("a\n"+figures.Begin+"old\n"+figures.End+"z\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := figures.Write(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "a\n"+figures.Begin+"new\n"+figures.End+"z\n" {
		t.Errorf("%q, %v", got, err)
	}
}
