from isthmus.connectivity.permutation_spec import Units


def test_units_of_a_block_are_interchangeable():
    units = Units()
    first, second = units.block(3), units.block(2)
    assert units.interchangeable() == [first, second]


def test_joined_blocks_are_one():
    units = Units()
    first, second = units.block(3), units.block(3)
    units.join(second, first)
    units.join(first, second)
    assert units.interchangeable() == [first]
    assert [units.representative(unit) for unit in second] == first


def test_joining_part_of_a_block_parts_it():
    units = Units()
    narrow, wide = units.block(2), units.block(5)
    units.join(wide, narrow + units.block(3))
    assert units.interchangeable() == [narrow, wide[2:]]


def test_units_joined_unequally_keep_their_places():
    units = Units()
    first, second = units.block(3), units.block(3)
    units.join(first, [second[0], second[0], second[1]])
    assert [len(each) for each in units.interchangeable()] == [1, 1, 1]


def test_fixed_units_and_those_joined_with_them_are_not_interchangeable():
    units = Units()
    first, second = units.block(2), units.block(2)
    units.fix(first)
    units.join(second, first)
    assert units.interchangeable() == []


def test_tied_units_change_places_with_each_other_only():
    units = Units()
    block = units.block(4)
    units.tie(block[:2])
    units.tie(block[2:])
    assert units.interchangeable() == [block[:2], block[2:]]
