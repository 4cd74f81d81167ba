package packet

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	for packet, want := range map[string]string{
		"450000180000000040110000c0a80a0ac612000a" + "9c401b5f":                               "192.168.10.10 to 198.18.0.10, protocol 17, 9c401b5f",
		"6000000000041140" + strings.Repeat("fd", 16) + strings.Repeat("20", 16) + "9c401b5f": "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd to 2020:2020:2020:2020:2020:2020:2020:2020, protocol 17, 9c401b5f",
		"45000018": "45000018",
		"":         "",
	} {
		raw, err := hex.DecodeString(packet)
		if err != nil {
			t.Fatal(err)
		}
		if got := Describe(raw); got != want {
			t.Errorf("%s: %s, want %s", packet, got, want)
		}
	}
}
