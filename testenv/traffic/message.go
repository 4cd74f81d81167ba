package traffic

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Port is where the server listens, UDP and TCP.
const Port = 7007

// Every request and every answer is one message of this many bytes.
const messageLen = 64

// message is a request, or its answer: the same, with the address that the server
// saw.
type message struct {
	kind   byte
	stream uint64 // identifies the client
	seq    uint64
	from   netip.AddrPort // in answers
	pause  time.Duration  // in kindListen and kindDownload: between two words of the server
}

const (
	magic = 0x53575654 // distinguishes a message from a stray packet

	kindRequest = 1 // to be answered
	kindBulk    = 2 // to be recorded
	// Messages with further numbers are to be sent from this one on, alone or each with
	// filler.
	kindListen   = 3
	kindDownload = 4
)

// put writes m to the beginning of b, which has messageLen bytes.
func (m message) put(b []byte) {
	clear(b[:messageLen])
	binary.BigEndian.PutUint32(b[0:], magic)
	b[4] = m.kind
	binary.BigEndian.PutUint64(b[8:], m.stream)
	binary.BigEndian.PutUint64(b[16:], m.seq)
	if m.from.IsValid() {
		as16 := m.from.Addr().As16()
		copy(b[24:40], as16[:])
		binary.BigEndian.PutUint16(b[40:], m.from.Port())
	}
	binary.BigEndian.PutUint64(b[48:], uint64(m.pause))
}

// parse parses what put wrote. It reports false for anything else.
func parse(b []byte) (m message, ok bool) {
	if len(b) != messageLen || binary.BigEndian.Uint32(b) != magic {
		return message{}, false
	}
	m = message{kind: b[4], stream: binary.BigEndian.Uint64(b[8:]), seq: binary.BigEndian.Uint64(b[16:]),
		pause: time.Duration(binary.BigEndian.Uint64(b[48:]))}
	if port := binary.BigEndian.Uint16(b[40:]); port != 0 {
		m.from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])).Unmap(), port)
	}
	return m, true
}
