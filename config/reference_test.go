package config

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// TestReferenceIsDefault: the reference means the same as a file without its
// keys.
func TestReferenceIsDefault(t *testing.T) {
	got, want := good(t, string(Reference)), good(t, minimal)
	for i := range got.Uplinks {
		got.Uplinks[i].Line = want.Uplinks[i].Line
	}
	got.Policies[0].Line = 0
	// An empty list is nil only if it is not in the file.
	got.Uplinks[0].SNATExcept, got.Uplinks[0].DNS, got.Uplinks[0].NPT = nil, nil, nil
	equal(t, "reference", got, want)
}

// TestReferenceHasEveryKey: each key of the schema is in the reference. Those of
// rules, which have no default, are named in its comment.
func TestReferenceHasEveryKey(t *testing.T) {
	file, err := parser.ParseBytes(Reference, 0)
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	collectKeys(file.Docs[0].Body, "", has)
	for _, f := range fileFields {
		expectKeys(t, has, f.key, f.keys)
	}
	for _, f := range uplinkFields {
		expectKeys(t, has, "uplinks."+f.key, nil)
	}
	for _, f := range append(probeFields.keys(), "burst.probes", "burst.spacing") {
		expectKeys(t, has, "probe."+f, nil)
	}
	for _, f := range healthFields {
		expectKeys(t, has, "health."+f.key, f.keys)
	}
	for _, key := range ruleFields.keys() {
		if !strings.Contains(string(Reference), key) {
			t.Errorf("rule key %s is not in the reference", key)
		}
	}
}

func expectKeys(t *testing.T, has map[string]bool, key string, below []string) {
	t.Helper()
	if !has[key] {
		t.Errorf("%s is not in the reference", key)
	}
	for _, b := range below {
		if key != "rules" && !has[key+"."+b] {
			t.Errorf("%s.%s is not in the reference", key, b)
		}
	}
}

func collectKeys(n ast.Node, path string, into map[string]bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			key := strings.TrimPrefix(path+"."+v.Key.GetToken().Value, ".")
			into[key] = true
			collectKeys(v.Value, key, into)
		}
	case *ast.SequenceNode:
		for _, v := range n.Values {
			collectKeys(v, path, into)
		}
	}
}

// TestReferenceMarksWhatIsNotBuilt: what check warns of as not acted on is marked in the
// reference, at the key.
func TestReferenceMarksWhatIsNotBuilt(t *testing.T) {
	c := good(t, `
uplinks:
  - {name: fiber, interface: eth0}
  - {name: lte, interface: eth1}
metrics: {listen: "127.0.0.1:9773"}
`)
	var keys []string
	for _, u := range c.Unbuilt() {
		keys = append(keys, u.Key[strings.LastIndex(u.Key, ".")+1:])
	}
	if len(keys) != 1 {
		t.Errorf("keys %q", keys)
	}
	comments := map[string]string{} // by key, those of the lines after it too
	key := ""
	for line := range strings.Lines(string(Reference)) {
		code, comment, _ := strings.Cut(line, "#")
		if name, _, ok := strings.Cut(strings.TrimLeft(code, " -"), ":"); ok && name != "" && !strings.Contains(name, "{") {
			key = name
		}
		comments[key] += comment
	}
	for _, key := range keys {
		if !strings.Contains(comments[key], "not yet") {
			t.Errorf("%s is not marked: %q", key, comments[key])
		}
	}
	if !strings.Contains(comments["prefix6"], "none: there are none") || !strings.Contains(comments["after"], "ten times") {
		t.Errorf("prefix6: %q, after: %q", comments["prefix6"], comments["after"])
	}
}
