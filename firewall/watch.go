package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watcher tells when table inet swerve changed, whoever did it: a hint to call
// [Kernel.Drift], no more.
type Watcher struct {
	conn  *netlink.Conn
	hints chan struct{}
}

// Watch begins to listen, in the network namespace of the calling thread. What
// happens from now on is seen when Run is called.
func Watch() (*Watcher, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	if err != nil {
		return nil, fmt.Errorf("firewall: watch nftables: open netlink: %w", err)
	}
	if _, err := enlarge(conn, bufferSize); err != nil {
		conn.Close()
		return nil, fmt.Errorf("firewall: watch nftables: enlarge the buffers: %w", err)
	}
	return &Watcher{conn: conn, hints: make(chan struct{}, 1)}, nil
}

// Hints has an element after each change of the table. Changes that come while
// one is waiting are covered by it.
func (w *Watcher) Hints() <-chan struct{} { return w.hints }

// pauseAfterError keeps an error that repeats itself from taking a whole core.
const pauseAfterError = 100 * time.Millisecond

// Run listens until the context ends, and closes the watcher. It survives lost
// messages: then anything may have changed, so it hints.
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
			w.hint()
			select {
			case <-ctx.Done():
			case <-time.After(pauseAfterError):
			}
		case concerns(messages):
			w.hint()
		}
	}
}

func (w *Watcher) hint() {
	select {
	case w.hints <- struct{}{}:
	default: // one is waiting already
	}
}

// concerns reports whether a message is about our table or something in it.
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
			// Attribute 1 of every kind of object is the name of its table.
			ours = ours || ad.Type() == unix.NFTA_TABLE_NAME && ad.String() == tableName
		})
		if ours || err != nil {
			return true
		}
	}
	return false
}
