// Package section replaces the parts of documents that programs make.
package section

import (
	"bytes"
	"fmt"
	"os"
)

// Section is the part of a document between two marks, which are lines of it.
type Section struct{ Begin, End string }

// Replace returns a text whose section has another body.
func (s Section) Replace(text []byte, body string) ([]byte, error) {
	head, rest, begins := bytes.Cut(text, []byte(s.Begin))
	_, tail, ends := bytes.Cut(rest, []byte(s.End))
	if !begins || !ends {
		return nil, fmt.Errorf("the marks %q and %q are missing", s.Begin, s.End)
	}
	return bytes.Join([][]byte{head, []byte(s.Begin), []byte(body), []byte(s.End), tail}, nil), nil
}

// Write replaces the section of a document.
func (s Section) Write(path, body string) error {
	text, err := os.ReadFile(path)
	if err == nil {
		text, err = s.Replace(text, body)
	}
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the section of %s: %w", path, err)
	}
	return nil
}
