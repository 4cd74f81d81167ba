package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestOverlay: files of the other engine replace the present ones, and those that it lacks
// are no part of it.
func TestOverlay(t *testing.T) {
	root, folder := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, enginePackage), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"both.go", "new.go"} {
		if err := os.WriteFile(filepath.Join(root, enginePackage, name), []byte("present"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range []string{"both.go", "old.go", "testdata/x.go", "notes.txt"} {
		const text = "other"
		if err := w.WriteHeader(&tar.Header{Name: enginePackage + "/" + name, Size: int64(len(text)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := overlayOf(archive.Bytes(), root, folder)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(root, enginePackage, name) }
	want := map[string]string{
		at("both.go"): filepath.Join(folder, "both.go"), at("old.go"): filepath.Join(folder, "old.go"), at("new.go"): "",
	}
	if !reflect.DeepEqual(got.Replace, want) {
		t.Errorf("got %v, want %v", got.Replace, want)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "both.go")); err != nil || string(text) != "other" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestMixed: the rows of another engine follow those of the present one, line by line.
func TestMixed(t *testing.T) {
	row := func(line, engine string) result { return result{Line: line, Engine: engine} }
	got := mixed([]result{row("a", ""), row("a", "x"), row("b", ""), row("b", "x")},
		[]result{row("a", "old"), row("a", "old x"), row("b", "old"), row("b", "old x")}, 2)
	var names []string
	for _, r := range got {
		names = append(names, r.Line+r.Engine)
	}
	if want := []string{"a", "ax", "aold", "aold x", "b", "bx", "bold", "bold x"}; !reflect.DeepEqual(names, want) {
		t.Errorf("%v", names)
	}
}
