package firewall

import (
	"errors"
	"fmt"
	"swerve/lane"

	"golang.org/x/sys/unix"
)

// Teardown removes everything of ours: table inet swerve with its contents, then our
// bits of the flows' marks. It is no error if there is nothing. Existing flows keep
// their addresses as long as another program uses NAT: without any user of NAT,
// the kernel stops translating.
func (k *Kernel) Teardown(l lane.Layout) error {
	if err := k.DeleteTable(); err != nil {
		return err
	}
	_, err := k.ForgetFlows(l)
	return err
}

// DeleteTable removes only the table. It is no error if there is none.
func (k *Kernel) DeleteTable() error {
	err := k.transact(func(tx *transaction) { tx.DelTable(tx.table) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("firewall: delete table inet %s: %w", tableName, err)
	}
	return nil
}
