package firewall

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// bufferSize is the buffer size of sockets for transactions. With the default a
// large transaction is refused, or is committed and its acknowledgements are
// lost.
const bufferSize = 8 << 20

// bufferSize returns the buffer size to request.
func (k *Kernel) bufferSize() int {
	if k.buffer > 0 {
		return k.buffer
	}
	return bufferSize
}

// enlarge sets the size of both buffers, and returns the resulting size of the send
// buffer. Beyond the system's limits that needs CAP_NET_ADMIN in the initial user
// namespace; without it the library requests what is allowed. That is sufficient:
// where acknowledgements are lost, the ruleset is read back.
func enlarge(c *netlink.Conn, size int) (room int, err error) {
	if err := errors.Join(c.SetReadBuffer(size), c.SetWriteBuffer(size)); err != nil {
		return 0, err
	}
	return c.WriteBuffer()
}

// dial opens a connection to netfilter.
func dial(bufferSize int) (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if _, err := enlarge(conn, bufferSize); err != nil {
		conn.Close()
		return nil, fmt.Errorf("enlarge the buffers: %w", err)
	}
	return conn, nil
}

// A connection carries transactions, one at a time.
type connection struct {
	*nftables.Conn
	room int // maximum size of a transaction, in bytes
}

func connect(bufferSize int) (*connection, error) {
	c := new(connection)
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(socket *netlink.Conn) (err error) {
		c.room, err = enlarge(socket, bufferSize)
		return err
	}))
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	c.Conn = conn
	return c, nil
}

// commit fills a transaction and has the kernel apply it.
func (c *connection) commit(fill func(*transaction)) error {
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	tx := &transaction{Conn: c.Conn, table: table}
	fill(tx)
	if tx.err != nil {
		return fmt.Errorf("encode: %w", tx.err)
	}
	err := c.Flush()
	if errors.Is(err, unix.EMSGSIZE) { // a transaction cannot be split
		return fmt.Errorf("the transaction is larger than the send buffer of %d bytes; raise net.core.wmem_max: %w", c.room, err)
	}
	return err
}
