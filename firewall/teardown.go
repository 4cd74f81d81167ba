package firewall

import (
	"errors"
	"fmt"
	"swerve/lane"

	"golang.org/x/sys/unix"
)

// Teardown removes everything of ours: table inet swerve with all that is in it,
// then our bits of the flows' marks. It is no error where there is nothing.
// Flows that are under way keep their addresses, as long as some other program
// uses NAT: with its last user gone, the kernel translates no more.
func (k *Kernel) Teardown(l lane.Layout) error {
	if err := k.DeleteTable(); err != nil {
		return err
	}
	_, err := k.ForgetFlows(l)
	return err
}

// DeleteTable removes the table alone.
func (k *Kernel) DeleteTable() error {
	err := k.transact(func(tx *transaction) { tx.DelTable(tx.table) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("firewall: delete table inet %s: %w", tableName, err)
	}
	return nil
}
