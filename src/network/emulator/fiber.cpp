// The switch of stacks on x86-64.
#include "fiber.hpp"

#if defined(__x86_64__)
// System V calling convention: the callee keeps rbx, rbp, r12 to r15 and the stack.
asm(R"(
.text
.globl ichor_switch_stack
.type ichor_switch_stack, @function
ichor_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size ichor_switch_stack, .-ichor_switch_stack
)");
#endif
