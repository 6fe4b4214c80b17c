"""Distillation from a teacher that sees more than the student."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.regularizers.divergence.closed_form import kl_categorical
from rlx.types import Scalar, check_broadcast, elements, floating, like


def privileged_distillation(
    teacher_logits: Float[Array, "*batch token vocabulary"],
    student_logits: Float[Array, "*batch token vocabulary"],
    teacher_nll: Float[Array, "*batch"],
    student_nll: Float[Array, "*batch"],
    *,
    student_weight: Scalar = 0.3,
    distillation_weight: Scalar = 2.0,
    where: Bool[Array, "*batch token"] | None = None,
) -> Float[Array, "*batch"]:
    """Self-J's joint loss of one network under two prompts, of which only the teacher's holds the reference answer.

    L = NLL_teacher + student_weight · NLL_student + distillation_weight · mean_t KL(sg(p_teacher,t) ‖ p_student,t).
    The teacher learns from its own likelihood only, the student from both. The two prompts differ in length: gather
    the logits at the answer's positions first, so that token t of both is the same answer token.

    Args:
        teacher_logits: logits at the answer tokens, given the privileged prompt [*batch, token, vocabulary];
            a constant.
        student_logits: the same given the plain prompt; carries the gradient.
        teacher_nll: mean negative log-likelihood of the answer given the privileged prompt [*batch]; carries the
            gradient.
        student_nll: the same given the plain prompt; carries the gradient.
        student_weight: weight of the student's likelihood.
        distillation_weight: weight of the divergence.
        where: boolean mask, True where an answer token counts in the divergence; leave out the end token.

    Returns:
        Loss of each sequence [*batch]; without the divergence where no token counts.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import imitation
        >>> teacher, student, nll = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.8, 0.2]])), jnp.array(1.0)
        >>> print(np.asarray(imitation.privileged_distillation(teacher, teacher, nll, nll)).round(3))
        1.3
        >>> print(np.asarray(imitation.privileged_distillation(teacher, student, nll, nll)).round(3))
        1.746

    References:
        Ye and Ng, 2024, "Self-Judge: Selective Instruction Following with Alignment Self-Evaluation",
        arXiv:2409.00935.
    """
    check_broadcast(teacher_nll=teacher_nll, student_nll=student_nll)
    teacher_logits, student_logits, teacher_nll, student_nll = floating(
        teacher_logits=teacher_logits, student_logits=student_logits, teacher_nll=teacher_nll, student_nll=student_nll
    )
    teacher_logits, student_logits = elements(
        teacher_logits=teacher_logits,
        student_logits=student_logits,
        where=None if where is None else jnp.expand_dims(where, -1),
    )
    student_weight, distillation_weight = like(student_nll, student_weight, distillation_weight)
    divergence = mean(kl_categorical(lax.stop_gradient(teacher_logits), student_logits), where=where, axis=-1)
    check_broadcast(teacher_nll=teacher_nll, teacher_logits=divergence)
    return teacher_nll + student_weight * student_nll + distillation_weight * divergence
