package packaging

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// Tags of an rpm's header (rpm's rpmtag.h) that the tests check.
const (
	rpmName         = 1000
	rpmVersion      = 1001
	rpmBuildHost    = 1007
	rpmLicense      = 1014
	rpmPostInstall  = 1024
	rpmPreRemove    = 1025
	rpmPostRemove   = 1026
	rpmModes        = 1030
	rpmFileFlags    = 1037
	rpmFileUsers    = 1039
	rpmFileGroups   = 1040
	rpmRequires     = 1049
	rpmDirIndexes   = 1116
	rpmBaseNames    = 1117
	rpmDirNames     = 1118
	rpmConfigFlag   = 1<<0 | 1<<4 // config, noreplace
	rpmHeaderIntro  = 16          // bytes before a header's index
	rpmLeadSize     = 96
	rpmEntrySize    = 16
	rpmTypeInt16    = 3
	rpmTypeInt32    = 4
	rpmTypeBytes    = 7
	rpmFileTypeMask = 0o170000
	rpmRegularFile  = 0o100000
)

// rpmHeader is one of the two headers of an rpm, by tag: []string or []uint32.
type rpmHeader struct {
	words   map[uint32][]string
	numbers map[uint32][]uint32
}

// first returns the first word of a tag.
func (h rpmHeader) first(tag uint32) string {
	return strings.Join(h.words[tag][:min(1, len(h.words[tag]))], "")
}

func TestRPM(t *testing.T) {
	data, err := os.ReadFile(built(t, dist, "rpm"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(data, []byte{0xed, 0xab, 0xee, 0xdb}) {
		t.Fatal("the file does not begin as an rpm")
	}
	_, end := parseRPMHeader(t, data, rpmLeadSize) // the signatures
	h, _ := parseRPMHeader(t, data, (end+7)/8*8)
	for tag, want := range map[uint32]string{
		rpmName: "swerve", rpmVersion: builtVersion, rpmLicense: "Apache-2.0", rpmBuildHost: "localhost",
		rpmPostInstall: read(t, "postinstall.sh"), rpmPreRemove: read(t, "preremove.sh"), rpmPostRemove: read(t, "postremove.sh"),
	} {
		if got := h.first(tag); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("tag %d is %q, want %q", tag, got, want)
		}
	}
	if requires := strings.Join(h.words[rpmRequires], " "); !strings.Contains(requires, "systemd") {
		t.Errorf("it requires %q, want systemd", requires)
	}
	compareContent(t, "rpm", rpmContent(t, h))
}

func rpmContent(t *testing.T, h rpmHeader) map[string]file {
	t.Helper()
	got := map[string]file{}
	for i, base := range h.words[rpmBaseNames] {
		path := h.words[rpmDirNames][h.numbers[rpmDirIndexes][i]] + base
		mode := h.numbers[rpmModes][i]
		if mode&rpmFileTypeMask != rpmRegularFile {
			continue
		}
		if user, group := h.words[rpmFileUsers][i], h.words[rpmFileGroups][i]; user != "root" || group != "root" {
			t.Errorf("%s is of %s:%s, want root's", path, user, group)
		}
		got[path] = file{mode: fs.FileMode(mode &^ rpmFileTypeMask),
			config: h.numbers[rpmFileFlags][i]&rpmConfigFlag == rpmConfigFlag}
	}
	return got
}

// parseRPMHeader reads the header at an offset and returns where it ends.
func parseRPMHeader(t *testing.T, data []byte, at int) (h rpmHeader, end int) {
	t.Helper()
	h = rpmHeader{words: map[uint32][]string{}, numbers: map[uint32][]uint32{}}
	if !bytes.HasPrefix(data[at:], []byte{0x8e, 0xad, 0xe8}) {
		t.Fatalf("no header at %d", at)
	}
	count, size := int(binary.BigEndian.Uint32(data[at+8:])), int(binary.BigEndian.Uint32(data[at+12:]))
	index := data[at+rpmHeaderIntro:]
	store := index[count*rpmEntrySize:][:size]
	for i := range count {
		var e [4]uint32 // tag, type, offset, count
		if _, err := binary.Decode(index[i*rpmEntrySize:], binary.BigEndian, &e); err != nil {
			t.Fatal(err)
		}
		h.add(e[0], e[1], store[e[2]:], int(e[3]))
	}
	return h, at + rpmHeaderIntro + count*rpmEntrySize + size
}

// add adds one entry: numbers of two or four bytes, or words; bytes are ignored.
func (h rpmHeader) add(tag, kind uint32, data []byte, count int) {
	for range count {
		switch kind {
		case rpmTypeBytes:
			return
		case rpmTypeInt16:
			h.numbers[tag] = append(h.numbers[tag], uint32(binary.BigEndian.Uint16(data)))
			data = data[2:]
		case rpmTypeInt32:
			h.numbers[tag] = append(h.numbers[tag], binary.BigEndian.Uint32(data))
			data = data[4:]
		default:
			word, rest, found := bytes.Cut(data, []byte{0})
			if !found {
				panic(fmt.Sprintf("tag %d of type %d has no end", tag, kind))
			}
			h.words[tag], data = append(h.words[tag], string(word)), rest
		}
	}
}
