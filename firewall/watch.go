package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watcher reports changes to table inet swerve by any program. They are only hints
// to call [Kernel.Drift].
type Watcher struct {
	conn        *netlink.Conn
	hints, gone chan struct{}
}

// Watch starts to listen, in the network namespace of the calling thread. Run
// reports all changes from now on, also those before it is called.
func Watch() (*Watcher, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return nil, fmt.Errorf("firewall: watch nftables: open netlink: %w", err)
	}
	if _, err := enlarge(conn, bufferSize); err != nil {
		conn.Close()
		return nil, fmt.Errorf("firewall: watch nftables: enlarge the buffers: %w", err)
	}
	return &Watcher{conn: conn, hints: make(chan struct{}, 1), gone: make(chan struct{}, 1)}, nil
}

// Hints has an element after each change to the table. Changes while one is pending
// add none.
func (w *Watcher) Hints() <-chan struct{} { return w.hints }

// Gone has an element after each deletion of the table, in addition.
func (w *Watcher) Gone() <-chan struct{} { return w.gone }

// pauseAfterError keeps a repeating error from using a whole core.
const pauseAfterError = 100 * time.Millisecond

// Run listens until the context ends, and then closes the watcher. If messages are
// lost, anything may have changed, so it sends a hint and continues.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.conn.Close()
	stop := context.AfterFunc(ctx, func() { w.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		messages, err := w.conn.Receive()
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, os.ErrClosed):
			return fmt.Errorf("firewall: watch nftables: %w", err)
		case err != nil: // ENOBUFS: too many messages for the buffer
			hint(w.hints)
			select {
			case <-ctx.Done():
			case <-time.After(pauseAfterError):
			}
		case concerns(messages):
			if deleted(messages) {
				hint(w.gone)
			}
			hint(w.hints)
		}
	}
}

func hint(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // one is pending already
	}
}

// deleted reports whether some of the messages that concern us say that a table of the
// family is gone. That it is another one costs a comparison.
func deleted(messages []netlink.Message) bool {
	return slices.ContainsFunc(messages, func(m netlink.Message) bool {
		return m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE && len(m.Data) > 0 && m.Data[0] == unix.NFPROTO_INET
	})
}

// concerns reports whether any of the messages is about our table or something in it.
func concerns(messages []netlink.Message) bool {
	for _, m := range messages {
		if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN {
			continue
		}
		if len(m.Data) < 4 || m.Data[0] != unix.NFPROTO_INET {
			continue
		}
		ours := false
		err := eachAttribute(m.Data, func(ad *netlink.AttributeDecoder) {
			// Attribute 1 of objects of every kind is the name of their table.
			ours = ours || ad.Type() == unix.NFTA_TABLE_NAME && ad.String() == tableName
		})
		if ours || err != nil {
			return true
		}
	}
	return false
}
