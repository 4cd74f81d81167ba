package firewall

import (
	"errors"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/privilege"
)

// Where the limits may not be exceeded, connections use what is allowed.
func TestBuffersWithinTheLimits(t *testing.T) {
	const wanted = 1 << 30 // more than any machine's limits
	var conn *netlink.Conn
	var c *connection
	failed := privilege.Without(unix.CAP_NET_ADMIN, func() {
		var errDial, errConnect error
		conn, errDial = dial(wanted)
		c, errConnect = connect(wanted)
		if err := errors.Join(errDial, errConnect); err != nil {
			t.Error(err)
		}
	})
	if failed != nil || conn == nil || c == nil {
		t.Fatal(failed)
	}
	defer conn.Close()
	defer c.CloseLasting()
	room, err := privilege.Buffer("wmem_max", wanted)
	if err != nil || c.room != room {
		t.Errorf("a transaction has room for %d bytes, want %d (%v)", c.room, room, err)
	}
	want, err := privilege.Buffer("rmem_max", wanted)
	if got, err2 := conn.ReadBuffer(); err != nil || err2 != nil || got != want {
		t.Errorf("the receive buffer has %d bytes, want %d (%v, %v)", got, want, err, err2)
	}
}

// With the smallest buffers few acknowledgements arrive: what counts is what the
// kernel holds.
func TestSmallBuffers(t *testing.T) {
	ns, k, table := netns.New(t), newKernel(t), Ruleset(threePolicies())
	k.buffer = 96 << 10
	inside(t, ns, func() error { return k.Apply(table) })
	if d := drift(t, ns, k, table); d != nil {
		t.Errorf("after Apply the kernel differs: %q", d)
	}
}

// A transaction that exceeds the send buffer is refused as a whole; the error has the
// remedy.
func TestTransactionWithoutRoom(t *testing.T) {
	ns, k := netns.New(t), newKernel(t)
	k.buffer = 16 << 10
	err := ns.Do(func() error { return k.Apply(Ruleset(manyUplinks(8, 8))) })
	if !errors.Is(err, unix.EMSGSIZE) || !strings.Contains(err.Error(), "raise net.core.wmem_max") {
		t.Errorf("Apply: %v, want it to name the limit", err)
	}
	if out := run(t, ns, "nft", "list", "ruleset"); out != "" {
		t.Errorf("a part of the ruleset is there:\n%s", out)
	}
}
