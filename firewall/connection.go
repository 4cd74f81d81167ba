package firewall

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// bufferSize is forced upon sockets that carry transactions: with the default a
// large one is refused, or its acknowledgements are lost although it was
// committed.
const bufferSize = 8 << 20

// bufferSize is what the kernel is asked for.
func (k *Kernel) bufferSize() int {
	if k.buffer > 0 {
		return k.buffer
	}
	return bufferSize
}

// enlarge sets both buffers, and returns the room for sending that there is then.
// Beyond the system's limits that needs CAP_NET_ADMIN in the initial user
// namespace; elsewhere the library asks for what is allowed, and that has to do:
// acknowledgements that are lost are made up for by reading back.
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
	room int // bytes that a transaction may have
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

func (c *connection) commit(fill func(*transaction)) error {
	tx := &transaction{Conn: c.Conn, table: ourTable()}
	fill(tx)
	if tx.err != nil {
		return fmt.Errorf("encode: %w", tx.err)
	}
	err := c.Flush()
	if errors.Is(err, unix.EMSGSIZE) { // it has to go as a whole
		return fmt.Errorf("the transaction is larger than the send buffer of %d bytes; raise net.core.wmem_max: %w", c.room, err)
	}
	return err
}
