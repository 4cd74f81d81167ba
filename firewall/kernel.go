package firewall

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// Kernel acts on the network namespace of the calling thread. Its zero value is
// ready for use. It is for one goroutine at a time.
type Kernel struct {
	// The generation and the table at which Drift last found nothing.
	verified   uint32
	verifiedAs uint64
}

// bufferSize is forced upon sockets that carry transactions: with the default a
// large one is refused, or its acknowledgements are lost although it was
// committed.
const bufferSize = 8 << 20

// A transaction collects commands; the kernel takes all of them or none.
type transaction struct {
	*nftables.Conn
	table *nftables.Table
	sets  uint32 // how many sets of this transaction have an id
	err   error
}

// transact runs one transaction on a connection of its own: a connection that
// once failed to encode a command fails for ever.
func transact(fill func(*transaction)) error {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(enlarge))
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer conn.CloseLasting()
	tx := &transaction{Conn: conn, table: ourTable()}
	fill(tx)
	if tx.err != nil {
		return fmt.Errorf("encode: %w", tx.err)
	}
	return conn.Flush()
}

// try keeps the first error of filling the transaction.
func (tx *transaction) try(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

// setID numbers the sets of a transaction. The library's own counter is shared
// by all connections of the process, without a lock.
func (tx *transaction) setID() uint32 {
	tx.sets++
	return tx.sets
}

// enlarge sets both buffers. Beyond the system's limits that needs
// CAP_NET_ADMIN in the initial user namespace; elsewhere what is allowed has to do.
func enlarge(c *netlink.Conn) error {
	return errors.Join(c.SetReadBuffer(bufferSize), c.SetWriteBuffer(bufferSize))
}

func ourTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}
