package firewall

import (
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// Kernel acts on one network namespace: that of the thread which makes the first
// call. Its zero value is ready for use. It is for one goroutine at a time, and
// must be closed.
type Kernel struct {
	known  knowledge
	buffer int // bytes to ask for in place of bufferSize; 0: none

	// Connections are kept, because closing one of netfilter's waits for the
	// kernel to free what transactions have deleted: 5 to 25 ms, right when a
	// verdict is in a hurry. They are nil until they are needed.
	elements *connection // for transactions of elements alone
	asking   *netlink.Conn
	flows    flowFinder // opens its own when it is needed, likewise
}

// Close closes the connections. What was applied stays. A Kernel that is used
// again opens new ones.
func (k *Kernel) Close() {
	k.dropElements()
	k.dropAsking()
	k.flows.close()
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

// execute sends one request and returns the answers, on the kept connection. A
// connection that failed is not used again: answers may still be on their way.
func (k *Kernel) execute(m netlink.Message) ([]netlink.Message, error) {
	if k.asking == nil {
		conn, err := dial(k.bufferSize())
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
func (k *Kernel) transact(fill func(*transaction)) error {
	conn, err := connect(k.bufferSize())
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	return conn.commit(fill)
}

// transactElements is for transactions without rules. It uses the kept
// connection, and drops it after a failure: one that failed to encode a command
// fails for ever.
func (k *Kernel) transactElements(fill func(*transaction)) error {
	if k.elements == nil {
		conn, err := connect(k.bufferSize())
		if err != nil {
			return err
		}
		k.elements = conn
	}
	err := k.elements.commit(fill)
	if err != nil {
		k.dropElements()
	}
	return err
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
