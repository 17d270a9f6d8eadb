#!/bin/busybox sh
# The first program of the guest: loads what its disk needs and goes over to it.
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /disk
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module" || echo "module $module"; done < /modules/order
mount -t ext4 /dev/vda /disk || { echo 'the disk cannot be mounted'; poweroff -f; }
mount --move /dev /disk/dev
umount /sys
umount /proc
exec switch_root /disk /bin/bash /kernels/guest.sh
