package linkmon

import (
	"context"

	"golang.org/x/sys/unix"
)

// tcp probes by the handshake of a connection, which it resets at once. A reset of the
// host is an answer as well: it has come all the way. What routers and filters tell by
// ICMP is none.
type tcp struct{ opener }

// probe is a [method].
func (m tcp) probe(ctx context.Context, r request, report func(outcome)) {
	s, ok := m.connect(ctx, r, report, 0)
	if !ok {
		return
	}
	defer s.Close()
	switch err := s.handshake(); {
	case err == nil || err == errRefused:
		report(outcome{kind: probeAnswered, at: m.clock(), by: r.to})
		m.tracking.learn(s.fd, r)
	case !timedOut(err) && err != errAnew:
		report(outcome{kind: probeFailed, at: m.clock(), fault: faultOf(err)})
	}
}

// connect sends the SYN of a connection, on which so many bytes may be read, and reports
// that. It returns false where that was not possible.
func (o opener) connect(ctx context.Context, r request, report func(outcome), read int) (*socket, bool) {
	fd, err := o.open(r, unix.SOCK_STREAM)
	at := o.clock()
	if err == nil {
		if err = o.tracking.dropped(fd, r); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		report(outcome{kind: probeRefused, at: o.clock(), cause: err})
		return nil, false
	}
	report(outcome{kind: probeSent, at: at})
	return newSocket(ctx, fd, r.wait, read), true
}
