import torch

from scoreinv.baselines.deepsparse.codebook import Codebook


def features(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def codebook(training=False):
    torch.manual_seed(3)
    return Codebook(7, 4).train(training)


def test_every_vector_becomes_its_nearest_code():
    book, x = codebook(), features(2, 4, 3, 3, 3)
    chosen, loss = book(x)
    vectors = x.movedim(1, -1).reshape(-1, 4)
    nearest = torch.cdist(vectors, book.codes).argmin(1)
    assert torch.allclose(chosen.movedim(1, -1).reshape(-1, 4), book.codes[nearest], atol=1e-6)
    assert torch.isclose(loss, (vectors - book.codes[nearest]).square().mean())


def test_gradient_goes_straight_through():
    x = features(1, 4, 2, 2, 2).requires_grad_()
    weight = features(1, 4, 2, 2, 2, seed=5)
    chosen, _ = codebook()(x)
    (chosen * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def test_codes_follow_the_moving_average_of_their_vectors():
    book, x = codebook(training=True), features(1, 4, 5, 5, 5)
    vectors = x.movedim(1, -1).reshape(-1, 4)
    sizes, sums = torch.ones(7), book.codes.clone()
    codes = book.codes.clone()
    for _ in range(3):
        one_hot = torch.nn.functional.one_hot(torch.cdist(vectors, codes).argmin(1), 7).float()
        sizes = 0.99 * sizes + 0.01 * one_hot.sum(0)
        sums = 0.99 * sums + 0.01 * one_hot.T @ vectors
        codes = sums / sizes[:, None]
        book(x)
    torch.testing.assert_close(book.codes, codes, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(book.sizes, sizes)


def test_evaluation_leaves_the_codes_alone():
    book = codebook()
    before = book.codes.clone()
    book(features(1, 4, 2, 2, 2))
    assert torch.equal(book.codes, before)


def test_unused_codes_stay_where_they_are():
    book = codebook(training=True)
    before = book.codes.clone()
    only = book.codes[2].reshape(1, 4, 1, 1, 1).expand(1, 4, 3, 3, 3)
    for _ in range(50):
        book(only)
    torch.testing.assert_close(book.codes, before, rtol=0.01, atol=0.01)
