package config

import (
	"strings"
	"testing"
)

// Names that the kernel, sysctls or nft cannot hold are refused wherever an
// interface is named.
func TestWrongDevice(t *testing.T) {
	for _, name := range []string{"", ".", "..", "lo", "all", "default", "a/b", "a:b", "a b", "a\tb", "wan*", `wan"0`, "wan$0", `wan\0`,
		"wän0", "еth0", "wan\u200b0", "wan\x000", "wan\x7f", strings.Repeat("a", 128)} {
		if WrongDevice(name) == "" {
			t.Errorf("%q passes", name)
		}
	}
	for _, name := range []string{"eth0", "wan0.100", "br-lan", "enp3s0f1np1", "wan@x", "...", "all0", strings.Repeat("a", 16), strings.Repeat("a", 127)} {
		if wrong := WrongDevice(name); wrong != "" {
			t.Errorf("%q %s", name, wrong)
		}
	}
}
