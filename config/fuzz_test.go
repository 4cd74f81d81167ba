package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse: for any bytes, Parse returns either a config or problems, the problems
// have the right format and are within the file, and a config can be used.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(every))
	f.Add(Reference)
	f.Add(Init(Taken{Routes: []DefaultRoute{{Interface: "eth0", Metric: 1}}}, nil))
	f.Add([]byte(bomb()[:2_000]))
	f.Add([]byte(mergeBomb(5)))
	files, _ := filepath.Glob("testdata/*/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, list := Parse("f", data)
		if (c == nil) == (len(list) == 0) {
			t.Fatalf("config %v and %d problems", c != nil, len(list))
		}
		checkProblems(t, data, list)
		if c == nil {
			return
		}
		if len(c.Policies) == 0 || c.Policies[0].Name != DefaultPolicy || c.AutoUplinks != (len(c.Uplinks) == 0) {
			t.Fatalf("config %+v", c)
		}
		c.Engine(c.Uplinks, nil)
		if err := c.Summary(&strings.Builder{}, c.Uplinks, nil, noneFound); err != nil {
			t.Fatal(err)
		}
	})
}
