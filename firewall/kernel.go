package firewall

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kernel acts on one network namespace: that of the thread which makes the first
// call. Its zero value is ready for use. It is for one goroutine at a time, and
// must be closed.
type Kernel struct {
	known knowledge

	// Connections are kept, because closing one of netfilter's waits for the
	// kernel to free what transactions have deleted: 5 to 25 ms, right when a
	// verdict is in a hurry. Both are nil until they are needed.
	elements *nftables.Conn // for transactions of elements alone
	asking   *netlink.Conn
}

// Close closes the connections. What was applied stays. A Kernel that is used
// again opens new ones.
func (k *Kernel) Close() {
	k.dropElements()
	k.dropAsking()
}

func (k *Kernel) dropElements() {
	if k.elements != nil {
		k.elements.CloseLasting()
		k.elements = nil
	}
}

func (k *Kernel) dropAsking() {
	if k.asking != nil {
		k.asking.Close()
		k.asking = nil
	}
}

// bufferSize is forced upon sockets that carry transactions: with the default a
// large one is refused, or its acknowledgements are lost although it was
// committed.
const bufferSize = 8 << 20

// enlarge sets both buffers. Beyond the system's limits that needs
// CAP_NET_ADMIN in the initial user namespace; elsewhere what is allowed has to do.
func enlarge(c *netlink.Conn) error {
	return errors.Join(c.SetReadBuffer(bufferSize), c.SetWriteBuffer(bufferSize))
}

// dial opens a connection to netfilter.
func dial() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := enlarge(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("enlarge the buffers: %w", err)
	}
	return conn, nil
}

// execute sends one request and returns the answers, on the kept connection. A
// connection that failed is not used again: answers may still be on their way.
func (k *Kernel) execute(m netlink.Message) ([]netlink.Message, error) {
	if k.asking == nil {
		conn, err := dial()
		if err != nil {
			return nil, err
		}
		k.asking = conn
	}
	answers, err := k.asking.Execute(m)
	if err != nil {
		k.dropAsking()
	}
	return answers, err
}

// A transaction collects commands; the kernel takes all of them or none.
type transaction struct {
	*nftables.Conn
	table *nftables.Table
	sets  uint32 // how many sets of this transaction have an id
	err   error
}

// transact runs one transaction on a connection of its own: the library asks the
// kernel to repeat each rule, and leaves some of that unread.
func transact(fill func(*transaction)) error {
	conn, err := connect()
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	return commit(conn, fill)
}

// transactElements is for transactions without rules. It uses the kept
// connection, and drops it after a failure: one that failed to encode a command
// fails for ever.
func (k *Kernel) transactElements(fill func(*transaction)) error {
	if k.elements == nil {
		conn, err := connect()
		if err != nil {
			return err
		}
		k.elements = conn
	}
	err := commit(k.elements, fill)
	if err != nil {
		k.dropElements()
	}
	return err
}

func connect() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(enlarge))
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return conn, nil
}

func commit(conn *nftables.Conn, fill func(*transaction)) error {
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

func ourTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}
