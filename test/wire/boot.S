# A boot sector for disks that are booted from over AoE: it prints what is in sector 1 to port 0xe9, QEMU's debug
# console, writes it to sector 9, and prints "written". INT 13h goes through iPXE to the target.
.code16
.globl _start
_start:
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movw $0x7c00, %sp
  cld
  movw $read, %si
  movw $0x4200, %ax             # extended read
  call disk
  movw $buffer, %si
  call print
  movw $write, %si
  movw $0x4300, %ax             # extended write
  call disk
  movw $written, %si
  call print
stop:
  hlt
  jmp stop

disk:
  pushw %dx                     # DL: the drive that we were booted from
  int $0x13
  popw %dx
  jc fail
  ret

fail:
  movw $failed, %si
  call print
  jmp stop

print:
  lodsb
  testb %al, %al
  jz 1f
  outb %al, $0xe9
  jmp print
1:ret

written: .asciz "written\n"
failed: .asciz "failed\n"

# Disk address packets: length, sectors, offset, segment, first sector.
read:
  .byte 16, 0
  .word 1, buffer, 0
  .quad 1
write:
  .byte 16, 0
  .word 1, buffer, 0
  .quad 9

.org 510
.word 0xaa55
.set buffer, 0x7e00
