package linkmon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

// dns probes by a query to a name server (RFC 1035), which is sent once, by UDP. That a
// name does not exist is an answer as well; that the server cannot or will not say (such
// as SERVFAIL, REFUSED) is none, since a forwarder says so whose own uplink is dead.
type dns struct{ opener }

const (
	// maxAnswer is the size of the messages that are read. Without EDNS servers send 512
	// bytes at most (RFC 1035, 4.2.1).
	maxAnswer = 4096
	// maxStrays is how many messages that are no answer to the query a probe passes over.
	maxStrays = 64
)

// errStray: a message is not an answer to the query.
var errStray = errors.New("not an answer to the query")

// probe is a [method].
func (m dns) probe(ctx context.Context, r request, report func(outcome)) {
	q, id := newQuestion(r.target.Name)
	query, err := q.message(id)
	fd := -1
	if err == nil {
		fd, err = m.open(r, unix.SOCK_DGRAM)
	}
	if err != nil {
		report(outcome{kind: probeRefused, at: m.clock(), cause: err})
		return
	}
	s := newSocket(ctx, fd, r.wait, maxAnswer*maxStrays)
	defer s.Close()
	if _, err := s.Write(query); err != nil {
		report(outcome{kind: probeRefused, at: m.clock(), cause: sendError(err, r)})
		return
	}
	report(outcome{kind: probeSent, at: m.clock()})
	o := m.listen(s, q, id)
	if o.by = r.to; o.kind != probeSent {
		report(o)
	}
}

// listen waits for the answer. An outcome of kind probeSent is none.
func (m dns) listen(s *socket, q question, id uint16) outcome {
	buf := make([]byte, maxAnswer)
	for range maxStrays {
		n, err := s.Read(buf)
		if err == nil {
			err = q.answer(buf[:n], id)
		}
		at := m.clock()
		switch {
		case err == nil:
			return outcome{kind: probeAnswered, at: at}
		case timedOut(err):
			return outcome{}
		case errors.Is(err, errStray) || errors.Is(err, io.EOF): // an empty message reads as an end
		case errors.Is(err, syscall.ECONNREFUSED):
			return outcome{kind: probeFailed, at: at, fault: failover.Fault{Cause: "port unreachable, as a host, router or packet filter says"}}
		default:
			return outcome{kind: probeFailed, at: at, fault: faultOf(err)}
		}
	}
	return outcome{kind: probeFailed, at: m.clock(), fault: failover.Fault{Cause: fmt.Sprintf("%d messages that are no answer", maxStrays)}}
}

// question is what a query asks.
type question struct{ dnsmessage.Question }

// newQuestion asks for the IPv4 addresses of a name, in either family, and of the root
// for its SOA record, with an unpredictable number for the message.
func newQuestion(name string) (question, uint16) {
	q := question{dnsmessage.Question{Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	if name == "." {
		q.Type = dnsmessage.TypeSOA
	}
	q.Name, _ = dnsmessage.NewName(name) // targets have no longer ones than fit
	var b [2]byte
	rand.Read(b[:])
	return q, binary.BigEndian.Uint16(b[:])
}

// message returns the query (RFC 1035, 4.1), which wants recursion.
func (q question) message(id uint16) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, id)
	b = append(b, 1 /* RD */, 0, 0, 1 /* question */, 0, 0, 0, 0, 0, 0)
	for label := range strings.SplitSeq(q.Name.String(), ".") {
		if label == "" {
			continue // of the root, at the end
		}
		if len(label) > 63 || len(b)+len(label) > 12+253 {
			return nil, fmt.Errorf("%q is no name to query", q.Name)
		}
		b = append(append(b, byte(len(label))), label...)
	}
	b = append(b, 0)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, uint16(q.Type)), uint16(q.Class)), nil
}

// answer returns nil for a well-formed answer to the query with a number, whatever it
// says, also if it is truncated; errStray for what is none, and an error that says so
// where the server tells that it has no answer.
func (q question) answer(b []byte, id uint16) error {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.ID != id || !h.Response || h.OpCode != 0 {
		return errStray
	}
	failed := h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError
	got, err := p.Question()
	bare := errors.Is(err, dnsmessage.ErrSectionDone) && failed // some servers leave it out
	if _, more := p.Question(); !bare && (err != nil || !q.is(got) || !errors.Is(more, dnsmessage.ErrSectionDone)) {
		return errStray
	}
	if failed {
		return fmt.Errorf("the name server answers %s", codeName(h.RCode))
	}
	if h.Truncated {
		return nil
	}
	for _, skip := range []func() error{p.SkipAllAnswers, p.SkipAllAuthorities, p.SkipAllAdditionals} {
		if skip() != nil {
			return errStray
		}
	}
	return nil
}

// is reports whether an answer repeats the question, whose case some servers change.
func (q question) is(o dnsmessage.Question) bool {
	return o.Type == q.Type && o.Class == q.Class && strings.EqualFold(o.Name.String(), q.Name.String())
}

// codeName returns the name of a response code (RFC 1035, 4.1.1; RFC 6895).
func codeName(c dnsmessage.RCode) string {
	switch c {
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	}
	return fmt.Sprintf("code %d", c)
}
