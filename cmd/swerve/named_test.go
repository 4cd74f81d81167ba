package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named finds commands in text: swerve followed by a word, where that is meant to be
// typed: in quotes, at the start of a line of a transcript, or after "run" or "see".
var named = regexp.MustCompile("(?:[`\"]|^\\$ |; |&& |\\b(?:run|see|and|then) |\\()swerve ([a-z]+)\\b")

// Every command that a remedy, a help text or a document names is one of this
// version's.
func TestNamedCommandsExist(t *testing.T) {
	var begun bool
	root := newRoot(&begun)
	root.InitDefaultHelpCmd()
	known := map[string]bool{}
	for _, c := range root.Commands() {
		known[c.Name()] = true
	}
	files := []string{"../../README.md", "../../Makefile"}
	for _, folder := range []string{"../../docs", "../../packaging", "../../control", "../../daemon", "../../cmd", "../../tui", "../../config", "../../routing", "../../firewall"} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			switch filepath.Ext(path) {
			case ".go", ".md", ".sh", ".yaml", ".service", ".conf":
				if !strings.HasSuffix(path, "_test.go") {
					files = append(files, path)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	// Comments of the code may name what is to come.
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				continue
			}
			for _, found := range named.FindAllStringSubmatch(line, -1) {
				count++
				if !known[found[1]] {
					t.Errorf("%s:%d: swerve %s does not exist: %s", path, i+1, found[1], strings.TrimSpace(line))
				}
			}
		}
	}
	if count < 50 {
		t.Errorf("only %d commands are named; is the pattern right?", count)
	}
}
