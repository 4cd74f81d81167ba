package firewall

import (
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// Kernel acts on one network namespace, that of the thread that makes the first
// call. Its zero value is ready for use. It may be used by one goroutine at a
// time, and must be closed.
type Kernel struct {
	// Contents are what the user's sets hold; nil where that is not remembered.
	Contents *SetContents
	// Roster has the clients that Poke pokes at once; nil for none.
	Roster *Roster

	known knowledge
	// wildcards is what TellsWildcards returns; nil if that is not known yet.
	wildcards *bool
	buffer    int // buffer size to request, in bytes; 0 for bufferSize

	// Connections are kept open, because closing a netfilter socket waits until the
	// kernel has freed what transactions have deleted: 5 to 25 ms, at the time when
	// a verdict must take effect quickly. They are nil until they are needed.
	elements *connection   // for transactions that change only elements
	requests *netlink.Conn // for everything else but transactions
	flows    flowFinder    // opens its own when it is needed
}

// Close closes the connections. What was applied stays. If the Kernel is used
// again, it opens new ones.
func (k *Kernel) Close() {
	k.closeElements()
	k.closeRequests()
	k.flows.close()
}

func (k *Kernel) closeElements() {
	if k.elements != nil {
		k.elements.CloseLasting()
		k.elements = nil
	}
}

func (k *Kernel) closeRequests() {
	if k.requests != nil {
		k.requests.Close()
		k.requests = nil
	}
}

// execute sends one request and returns the answers. It uses the open connection,
// and closes it after an error: further answers may still arrive on it.
func (k *Kernel) execute(m netlink.Message) ([]netlink.Message, error) {
	if k.requests == nil {
		conn, err := dial(k.bufferSize())
		if err != nil {
			return nil, err
		}
		k.requests = conn
	}
	answers, err := k.requests.Execute(m)
	if err != nil {
		k.closeRequests()
	}
	return answers, err
}

// A transaction collects commands; the kernel applies all of them or none.
type transaction struct {
	*nftables.Conn
	table *nftables.Table
	sets  uint32 // how many sets of this transaction have an id
	err   error
}

// transact runs one transaction on a connection of its own: the library has the
// kernel echo each rule, and does not read all of the echoes.
func (k *Kernel) transact(fill func(*transaction)) error {
	conn, err := connect(k.bufferSize())
	if err != nil {
		return err
	}
	defer conn.CloseLasting()
	return conn.commit(fill)
}

// transactElements runs a transaction without rules. It uses the open connection,
// and closes it after an error: a connection that failed to encode a command
// would fail forever.
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
		k.closeElements()
	}
	return err
}

// try records the first error while the transaction is filled.
func (tx *transaction) try(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

// setID returns the next number for a set of the transaction. The library's own
// counter is shared by all connections of the process, without a lock.
func (tx *transaction) setID() uint32 {
	tx.sets++
	return tx.sets
}
